"""Changes of the rule table as events: every journal logs each of them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mta.model.events import Event, EventType
from mta.model.rules import Rule
from mta.model.units import format_time
from mta.ports.event_sinks import Item
from mta.ports.journal import Outbox, RuleChange

_MOST: Final = 100  # changes taken at once


class RuleChanges:
    """Follows the audit of the rule table from where this node's last journal was."""

    def __init__(self, outbox: Outbox, node: str, say: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
        """`say` makes events durable."""
        self._outbox = outbox
        self._node = node
        self._say = say

    async def follow(self) -> None:
        """Say what has changed since. Raises StoreError, OSError."""
        position = await self._outbox.changes_position(self._node)
        changes = await self._outbox.changes(position, _MOST)
        if changes:
            await self._say([rule_event(change) for change in changes])
            await self._outbox.changes_done(self._node, changes[-1].change.head.generation)


def rule_event(change: RuleChange) -> Item:
    head, op, rule = change.change
    event = Event(
        EventType.RULE,
        change.at,
        code=rule.code,
        enhanced=rule.extended,
        text=rule.description,
        pool=rule.selectors.pool or "",
        mta=rule.selectors.mta or "",
        domain=rule.selectors.domain or "",
        mx=rule.selectors.mx or "",
        remote_ip=rule.selectors.ip or "",
        tags=(rule.selectors.tag,) if rule.selectors.tag is not None else rule.selectors.tags_all or (),
        reason=_in_words(op.value, rule, change),
        properties={
            "rule": rule.id,
            "op": op.value,
            "generation": str(head.generation),
            "by": change.by,
            **_terms(rule),
        },
    )
    return f"rules.{head.generation}", event


def _terms(rule: Rule) -> dict[str, str]:
    """What no key of an event is there for; only what is not as usual."""
    chosen = rule.selectors
    found = {
        "tags_all": " ".join(chosen.tags_all or ()) if chosen.tag is not None else "",
        "except_tags": " ".join(chosen.except_tags or ()),
        "enabled": "" if rule.enabled else "false",
        "expires_at": format_time(rule.expires_at) if rule.expires_at else "",
    }
    return {name: value for name, value in found.items() if value}


def _in_words(op: str, rule: Rule, change: RuleChange) -> str:
    said = f"{op} by {change.by}" if change.by else op
    if change.unreadable:
        return f"{said}; the rule was made by a newer release, and nothing else of it can be read: {change.unreadable}"
    return f"{said}: {rule.reason}" if rule.reason else said
