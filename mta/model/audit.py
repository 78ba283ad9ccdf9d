"""The audit of orders: an entry has the actor, the origin and the time of an order, and the change that it made."""

from typing import Any, Final, NamedTuple

import msgspec

from mta.model.actor import Actor
from mta.model.events import EventType
from mta.model.rule_events import RuleEvent

ORDERED: Final = "ordered"  # it was noted before it was carried out: no change is without its entry
DENIED: Final = "denied"


class Deed(NamedTuple):
    """An order beside the rule table."""

    action: str  # "token.create", "message.cancel"
    of: str  # id or name of the thing that it changes
    before: Any = None  # builtin values, None = it was not there, or nothing is known; no secret is in them
    after: Any = None
    tenant: str = ""  # the tenant to whose things the order belongs
    reason: str = ""
    result: str = ORDERED


def deed_event(actor: Actor, deed: Deed, at: int) -> RuleEvent:
    """The event of the rule table's lane that makes the entry. `at` is Unix ms."""
    properties = {
        "action": deed.action,
        "of": deed.of,
        "token": actor.token,
        "before": as_json(deed.before),
        "after": as_json(deed.after),
        "result": deed.result,
    }
    return RuleEvent(
        EventType.AUDIT,
        at,
        client=actor.address,
        tenant=deed.tenant,
        reason=f"{deed.action} {deed.of}: {deed.reason}" if deed.reason else f"{deed.action} {deed.of}",
        properties={name: value for name, value in properties.items() if value},
        actor=actor.author,
    )


def as_json(value: Any) -> str:
    """ "" for None."""
    return "" if value is None else msgspec.json.encode(value).decode()
