"""The processes of the cluster, their health, and the fate of the store, as answers show them."""

from msgspec import UNSET, Struct, UnsetType

from control_api.schemas.answers import Count, Seconds, Time


class Worker(Struct, kw_only=True, frozen=True):
    """A process that matches rules."""

    name: str
    node: str
    pid: Count
    session: str
    roles: list[str]
    generation: Count
    lag: Count
    confirmed_at: Time | None
    seconds_since_confirm: Seconds | None
    dead: bool
    library: str
    rule_format: Count
    unreadable: str | None


class Workers(Struct, kw_only=True, frozen=True):
    """All of them, and the generation of the rule table."""

    generation: Count
    workers: list[Worker]


class Emptied(Struct, kw_only=True, frozen=True):
    """The moment at which the store was found emptied."""

    emptied_at: Time | None


class Health(Struct, kw_only=True, frozen=True):
    """Whether this node can do its work."""

    status: str
    reason: str | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET
