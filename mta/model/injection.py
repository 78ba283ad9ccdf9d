"""The wishes of a client in the injection headers of a message, before the settings are applied."""

import msgspec

from mta.model.sending_window import SendingWindow


class Injection(msgspec.Struct, frozen=True, gc=False):
    """Times are Unix milliseconds; None or empty = not asked for."""

    tags: tuple[str, ...] = ()
    pool: str | None = None
    sender: str | None = None  # replaces MAIL FROM; "" is the null sender
    due_at: int | None = None
    expires_at: int | None = None
    max_age: float | None = None  # seconds from the time at which it is to be sent; where expires_at is None
    max_attempts: int | None = None  # 0 = no limit
    retries: tuple[int, ...] = ()  # seconds
    properties: dict[str, str] | None = None
    tenant: str = ""
    priority: int = 0  # class: 0 (bulk) to 2
    idempotency_key: str = ""
    window: SendingWindow | None = None
    simulated: bool = False
    topic: str = ""  # of the mail, for suppressions


NOTHING_ASKED = Injection()
