"""The wishes of a client in the injection headers of a message, before the settings are applied."""

from typing import NamedTuple

import msgspec

from mta.model.sending_window import SendingWindow


class Hold(NamedTuple):
    """The parameter of MAIL by which a client asks for a later release (RFC 4865): a time from now, or a time."""

    parameter: str  # its keyword
    seconds: int = 0
    until: int = 0  # Unix ms; 0 = `seconds` counts


class Injection(msgspec.Struct, frozen=True, gc=False):
    """Times are Unix milliseconds; None or empty = not asked for."""

    tags: tuple[str, ...] = ()
    pool: str | None = None
    sender: str | None = None  # replaces MAIL FROM; "" is the null sender
    due_at: int | None = None
    expires_at: int | None = None
    max_attempts: int | None = None  # 0 = no limit
    retries: tuple[int, ...] = ()  # seconds
    properties: dict[str, str] | None = None
    tenant: str = ""
    priority: int = 0  # class: 0 (bulk) to 2
    idempotency_key: str = ""
    window: SendingWindow | None = None
    simulated: bool = False
    topic: str = ""  # of the mail, for suppressions
    max_age: float | None = None  # seconds from the time at which it is to be sent; where expires_at is None


NOTHING_ASKED = Injection()
