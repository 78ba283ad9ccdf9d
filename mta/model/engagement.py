"""Engagement: opens of mail and clicks in it, as the listener for them hears of them."""

import enum
from typing import Final

import msgspec

from mta.model.ids import DeliveryId


class TrackedMail(msgspec.Struct, frozen=True, array_like=True):
    """The facts of one delivery that a link in it carries, since nothing is looked up when somebody follows it (new
    fields only at the end)."""

    id: DeliveryId
    made_at: int  # Unix seconds
    recipient: str
    domain: str = ""  # of its queue
    tenant: str = ""
    tags: tuple[str, ...] = ()
    pool: str = ""
    topic: str = ""


class Engagement(enum.StrEnum):
    """The kinds of engagement; the value is the first part of a link's path."""

    OPEN = "o"
    CLICK = "c"
    UNSUBSCRIBE = "u"


MOST_TAGS: Final = 8  # of a mail that its links carry: a link must stay short
