"""List-Unsubscribe of messages that ask for it (RFC 8058): a link for each recipient, which needs the message's id."""

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from control_api.http.problems import Problem
from mta.model.engagement import TrackedMail
from mta.model.ids import MessageId, delivery_id
from mta.model.injection import Injection
from mta.ports.admission import Draft
from mta.timing.clock import wall_seconds

if TYPE_CHECKING:
    from mta.content.tracking_links import TrackingLinks

_THERE: Final = re.compile(rb"^list-unsubscribe(-post)?[ \t]*:", re.IGNORECASE | re.MULTILINE)
_LONGEST: Final = 950  # characters of a link on a line of its own (RFC 5322 2.1.1)
_FIELDS: Final = "List-Unsubscribe:\r\n <{}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


def with_unsubscribe(drafts: Sequence[Draft], asked: Injection, links: "TrackingLinks") -> list[Draft]:
    """The same messages with the header fields. Raises Problem 422."""
    for draft in drafts:
        if len(draft.recipients) > 1:
            words = "needs separate: true where there are several recipients: the link stands for one of them"
            raise Problem(422, words, "unsubscribe")
        if _THERE.search(draft.header):
            raise Problem(422, "cannot be given beside a List-Unsubscribe header of its own", "unsubscribe")
    return [draft._replace(finish=partial(_finished, draft, asked, links)) for draft in drafts]


def _finished(draft: Draft, asked: Injection, links: "TrackingLinks", message: MessageId) -> Draft:
    made = draft if draft.finish is None else draft.finish(message)
    (recipient,) = made.recipients
    facts = TrackedMail(
        delivery_id(message, 1), int(wall_seconds()), recipient, "", asked.tenant, asked.tags, asked.pool or "",
        asked.topic,
    )  # fmt: skip
    link = links.unsubscribe(facts)
    if len(link) > _LONGEST:
        link = links.unsubscribe(replace(facts, tags=()))
    return made._replace(header=made.header + _FIELDS.format(link).encode(), finish=None)
