"""Rules, forced errors and pauses, as people write them and as every process knows them.

A rule is read whole or not at all: a field or a value that a build does not know is an error there. So each field that
is added to Selectors or Rule, and each value of their enums, is noted in SINCE under a new format.
"""

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from mta.model.quotas import Quota


class Head(NamedTuple):
    """The state of the rule table; a table is current only if both fields agree. Change ids are random."""

    generation: int
    change: str


NO_HEAD = Head(0, "")


class Kind(enum.StrEnum):
    """The kinds of rules."""

    ERROR = "error"  # a forced error: ends it (5xx, 2xx) or defers it (4xx)
    PAUSE = "pause"  # holds it until the pause is lifted or over
    TENANT = (
        "tenant"  # the terms of a tenant; while it is suspended (enabled), its mail is held, and refused at the door
    )


class AtTheDoor(enum.StrEnum):
    """The effect of a forced error on matching mail that comes in while it is in force."""

    ACCEPT = "accept"  # accepted and, where the rule ends mail, intercepted in the same step
    REJECT = "reject"  # refused at end of data


class InFlight(enum.StrEnum):
    """The effect of a new rule on a matching transaction that has begun and has not handed over its dot."""

    ABORT = "abort"
    FINISH = "finish"


class Selectors(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The deliveries that a rule applies to: all given selectors must match; None = anything."""

    pool: str | None = None
    mta: str | None = None
    domain: str | None = None  # lower case A-labels; "*.example.com" = its subdomains
    tag: str | None = None
    cluster: bool = True
    node: str | None = None  # set when cluster is false
    ip: str | None = None  # of the peer; known, like mta and mx, only at the attempt
    mx: str | None = None  # the peer's host name, as domain
    tags_all: tuple[str, ...] | None = None  # every one must be there; sorted, each once
    except_tags: tuple[str, ...] | None = None  # none may be there; sorted, each once
    tenant: str | None = None  # the account on whose behalf the message was injected
    sender: str | None = None  # of the envelope, or "*@domain"; lower case, the domain in A-labels
    recipient: str | None = None  # written like sender
    accepted_before: int | None = None  # Unix ms: mail that was accepted before this instant
    accepted_after: int | None = None  # Unix ms: mail that was accepted at this instant or later
    domains: tuple[str, ...] | None = None  # two or more, one of them must match, as domain; sorted, each once
    schedule: str | None = None  # of a pause: the times at which it holds mail, such as "Mo-Fr 22:00-08:00"
    timezone: str | None = None  # of the schedule, an IANA name
    site: str | None = None  # of the domain: the provider that takes its mail

    @property
    def names(self) -> tuple[str, ...]:
        """The domains, one of which must match; () = any."""
        return self.domains or (() if self.domain is None else (self.domain,))

    @property
    def asks_message(self) -> bool:
        """Whether the selectors ask for the addresses of the envelope, or for the time of acceptance."""
        asked = self.sender, self.recipient, self.accepted_before, self.accepted_after
        return any(selector is not None for selector in asked)


class BoundState(enum.StrEnum):
    """How far an order with a bound is."""

    COUNTING = "counting"  # the rule is its hold
    PASSED = "passed"  # it matched no more than its bound; the rule is the forced error
    REFUSED = "refused"  # it matched more; the hold is disabled, and removed once its mail is released


TenantVar = str | bool | int | float  # a value that templates of mail find under `tenant`


class Bound(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The bound of an order. While its mail is counted the rule is a pause, its hold."""

    max_matches: int
    state: BoundState = BoundState.COUNTING
    matched: int = 0  # once it is decided
    held_at: int = 0  # Unix ms since which all matching mail was held; once it has passed
    becomes: "Rule | None" = None  # the forced error, until the hold has become it
    became: str = ""  # the forced error with the same selectors that got its terms instead


class Rule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A forced error or a pause; times are Unix milliseconds, 0 = not set. A pause has no reply: its `code` is 0, and
    fields about mail that ends do not apply to it."""

    id: str
    selectors: Selectors
    code: int = 0
    extended: str = ""
    description: str = ""
    created_at: int = 0
    created_by: str = ""
    reason: str = ""
    generation: int = 0  # of its last change
    enabled: bool = True
    expires_at: int = 0
    kind: Kind = Kind.ERROR
    at_the_door: AtTheDoor = AtTheDoor.ACCEPT
    in_flight: InFlight = InFlight.ABORT
    undo: bool = True  # undo copies of intercepted deliveries are kept for `rules.undo_window`
    bound: Bound | None = None  # of an order with a bound
    set_id: str = ""  # of the order for many rules that made this generation; "" = an order for this rule alone
    changed_by: str = ""  # the author of its last change, where it is another than `created_by`
    weight: int = 1  # of a tenant: its share of a queue
    default_pool: str = ""  # of a tenant; "" = smtp.default_pool
    senders: tuple[str, ...] = ()  # of a tenant: domains that its mail may come from, as Selectors.domain; () = any
    owner: str = ""  # the tenant whose token ordered it, and alone of all tenants may change it
    dkim_domain: str = ""  # of a tenant: signs its mail whose own domain has no DKIM key; "" = dkim.default_domain
    vars: tuple[tuple[str, TenantVar], ...] = ()  # of a tenant: values by name, for the templates of its mail; sorted
    quota: Quota | None = None  # of a tenant

    @property
    def order_id(self) -> str:
        """The id under which the effect, the `past_dot` list and the sweep of this generation are kept: one for all
        rules of a set."""
        return self.set_id or self.id

    @property
    def author(self) -> str:
        """The actor of the rule's last change, else of its creation."""
        return self.changed_by or self.created_by


class RuleSet(msgspec.Struct, frozen=True, array_like=True):
    """An order for many rules at once, as it was given. Effect, sweep and statement of the set have its id."""

    id: str
    created_at: int  # Unix ms
    created_by: str
    owner: str = ""  # the tenant whose token ordered it


class SetMembers(NamedTuple):
    """The rules of a set, by id."""

    made: tuple[str, ...]  # created or replaced, in the order of the request
    removed: tuple[str, ...]


# Formats after the first, by the field that came with each: "reason", "selectors.site"; or, for a value, "kind=limit".
SINCE: Mapping[str, int] = {
    "selectors.sender": 2,
    "selectors.recipient": 2,
    "selectors.accepted_before": 2,
    "selectors.accepted_after": 2,
    "selectors.domains": 2,
    "selectors.schedule": 2,
    "selectors.timezone": 2,
    "selectors.site": 2,
    "set_id": 2,
    "bound": 2,
    "changed_by": 2,
    "owner": 2,
    "kind=tenant": 2,
    "weight": 2,
    "default_pool": 2,
    "senders": 2,
    "dkim_domain": 2,
    "vars": 2,
    "quota": 2,
}
FIRST_FORMAT: Final = 1
_DEFAULTS: Final = {of: {field.name: field.default for field in msgspec.structs.fields(of)} for of in (Rule, Selectors)}


def newest_format() -> int:
    """The format of rules that this build reads."""
    return max(SINCE.values(), default=FIRST_FORMAT)


def format_of(rule: Rule) -> int:
    """The least format that a process must read to read this rule."""
    needed = max((since for name, since in SINCE.items() if _uses(rule, name)), default=FIRST_FORMAT)
    ordered = None if rule.bound is None else rule.bound.becomes
    return needed if ordered is None else max(needed, format_of(ordered))


def _uses(rule: Rule, name: str) -> bool:
    field, _, value = name.partition("=")
    owner, _, field = field.rpartition(".")
    holder: Rule | Selectors = rule.selectors if owner else rule
    found = getattr(holder, field)
    return bool(found == value if value else found != _DEFAULTS[type(holder)][field])


class ChangeOp(enum.StrEnum):
    PUT = "put"
    REMOVE = "remove"
    CANARY = "canary"  # no rule: an order that shows how long orders take
    REGAIN = "regain"  # no rule: rules that a failover lost were put again, as far as they were known
    SET = "set"  # no rule: many were put or removed, by one order


class Change(NamedTuple):
    """One step of the rule table, or one of the changes of a step that changed many rules: these have one head."""

    head: Head
    op: ChangeOp
    rule: Rule


class PastDot(msgspec.Struct, frozen=True):
    """A delivery whose final dot had been handed over when its worker took a matching rule over; or, for a rule with
    InFlight.FINISH, one whose transaction had begun."""

    rule: str  # the order's id
    id: str  # delivery id, text form
    recipient: str
    dot_at: int  # 0 = not handed over yet
    session: str = ""
    settled_at: int = 0  # 0 = not yet


class Effective(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of a rule that is effective everywhere, with the deliveries that were past their dot by then; kept for
    every process to see."""

    rule: str  # the order's id
    generation: int
    effective_at: int  # Unix milliseconds
    past_dot: tuple[str, ...] = ()  # delivery ids, text form: the fixed list
    confirmed: tuple[str, ...] = ()  # session ids
    unconfirmed: tuple[str, ...] = ()  # stopped by the time that passed, not by their confirmation


class SessionState(msgspec.Struct, frozen=True):
    """A process as the store knows it."""

    id: str
    node: str
    pid: int
    roles: tuple[str, ...]
    head: Head
    seq: int
    confirmed_at: int = 0  # Redis's wall clock, for display only
    dead: bool = False
    metrics: dict[str, float] = {}

    @property
    def name(self) -> str:
        """As people know it: `<node>/<roles>/<pid>`."""
        return f"{self.node}/{'+'.join(self.roles)}/{self.pid}"

    @property
    def delivers(self) -> bool:
        """Orders wait for it; the barrier of each lane fences a process that does not deliver."""
        return "delivery" in self.roles


class Build(msgspec.Struct, frozen=True, array_like=True):
    """The build of a process, as far as others must know it. The defaults are those of builds that do not say."""

    library: str = "fg1"  # of its atomic steps
    rule_format: int = FIRST_FORMAT
    unreadable: str = ""  # why it confirms nothing; "" = it reads all rules
