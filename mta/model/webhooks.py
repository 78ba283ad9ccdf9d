"""Webhook endpoints: URLs of senders that are told of events, and how far each has been told."""

import enum

import msgspec

TEST: str = "webhook:test"
BATCH: str = "batch"


class WebhookEvent(enum.StrEnum):
    """The types of events that an endpoint can ask for."""

    MESSAGE_UPDATED = "message:updated"
    RULE_EFFECTIVE = "rule:effective"
    RULE_COMPLETED = "rule:completed"
    BRAKE_PULLED = "brake:pulled"


class When(enum.StrEnum):
    """The changes of a delivery of which an endpoint is told."""

    FINAL = "final"  # its end, and what is learnt after it
    EVERY = "every"


class Replay(msgspec.Struct, frozen=True):
    """An order to send events of the past once more. Times are Unix milliseconds."""

    number: int  # of the endpoint's replays, from 1
    begin: int  # events at or after
    end: int  # and before


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An endpoint as the cluster keeps it. Times are Unix milliseconds, 0 = not set."""

    id: str
    url: str
    secret: bytes  # sealed
    events: tuple[WebhookEvent, ...]
    when: When = When.FINAL
    tags: tuple[str, ...] = ()  # only mail with one of them; empty = any
    tenant: str = ""  # only mail of this tenant; "" = of any
    description: str = ""
    batch: int = 1  # most events in one request
    created_at: int = 0
    created_by: str = ""
    old_secret: bytes = b""  # sealed; signs along until `old_until`
    old_until: int = 0
    disabled_at: int = 0
    disabled_reason: str = ""
    replay: Replay | None = None  # the last one that was ordered

    @property
    def about(self) -> str:
        """The words under which its secrets are sealed."""
        return f"webhook:{self.id}"


class EndpointFigures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an endpoint as the process that serves it tells it. Times are Unix milliseconds, 0 = never."""

    told_at: int
    node: str = ""
    failing: bool = False
    waiting: str = ""  # the reason for which events cannot be read at present
    backlog: int = 0  # events that are to be sent, and events of history that were not looked at yet
    oldest: int = 0  # time of the oldest of them; 0 = there is none, or it is not known
    sent: int = 0  # events that were answered with success, since the process serves the endpoint
    failures: int = 0  # requests in a row that failed
    last_success: int = 0
    last_failure: int = 0
    last_failure_text: str = ""
    next_try: int = 0  # of a failing endpoint
    given_up: int = 0  # events whose last retry failed
    lost: int = 0  # events that history did not have any more
    replayed: int = 0  # number of the last replay that was begun
    replay: int = 0  # number of the replay that runs, 0 = none
