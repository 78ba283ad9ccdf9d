"""Suppressions made of the fields of a request, shown in answers, and selected by filters."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from control_api.dependencies import Dependencies
from control_api.http.problems import Problem
from control_api.http.times import shown
from control_api.http.turns import SLICE
from control_api.schemas import suppression_shapes as shapes
from control_api.schemas.answers import known
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.status import Reason
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from mta.model.units import parse_time
from mta.ports.suppressions import SuppressionPlace


def made(given: Mapping[str, Any], actor: Actor, now: int) -> Suppressed:
    """The suppression that these fields describe. Raises BadValue, Problem 403."""
    address, domain = given.get("address"), given.get("domain")
    if (address is None) == (domain is None):
        raise BadValue("address", "give either address or domain")
    for name, alias in (("expires_at", "expire"), ("note", "description")):
        if given.get(name) is not None and given.get(alias) is not None:
            raise BadValue(alias, f"is another name of {name}; give one of them")
    key = SuppressionKey(address or domain or "", tenant_of(actor, given.get("tenant")) or "", given.get("topic") or "")
    created_at = given.get("created_at")
    value = Suppression(
        Reason(given.get("reason") or Reason.MANUAL),
        now if created_at is None else min(now, parse_time(created_at, "created_at", now)),
        actor.author,
        _end(given, now),
        given.get("note") or given.get("description") or "",
        given.get("extended") or "",
    )
    return Suppressed(key, value)


def _end(given: Mapping[str, Any], now: int) -> int:
    name = "expire" if given.get("expire") is not None else "expires_at"
    if given.get(name) is None:
        return 0
    at = parse_time(given[name], name, now)
    if at <= now:
        raise BadValue(name, "is past; such a suppression would never be in force")
    return at


def tenant_of(actor: Actor, asked: str | None) -> str | None:
    """The tenant whose suppressions the actor may touch of what it asks for, None = all. Raises Problem 403."""
    if not actor.tenant:
        return asked
    if asked not in (None, actor.tenant):
        raise Problem(403, f"the token is bound to tenant {actor.tenant}", "tenant")
    return actor.tenant


def fields_of(item: Suppressed) -> dict[str, Any]:
    """As answers show it, without the fields that are not set."""
    (subject, tenant, topic), value = item
    is_address = "@" in subject
    return known(
        {
            "address": subject if is_address else None,
            "domain": None if is_address else subject,
            "tenant": tenant or None,
            "topic": topic or None,
            "reason": value.reason.value,
            "expires_at": shown(value.expires_at),
            "note": value.note or None,
            "extended": value.extended or None,
            "created_at": shown(value.created_at),
            "created_by": value.created_by or None,
        }
    )


class Selection:
    """The suppressions that a filter selects, of those that an actor may see."""

    def __init__(self, asked: shapes.SuppressionFilter, actor: Actor) -> None:
        """Raises Problem 403."""
        self._asked = asked
        self._tenant = tenant_of(actor, asked.tenant)
        self._text = (asked.text or "").lower()
        self.subject = asked.address or ""  # where it selects one alone

    def takes(self, item: Suppressed) -> bool:
        asked, ((subject, tenant, topic), value) = self._asked, item
        return (
            (asked.address is None or subject == asked.address)
            and (asked.domain is None or subject.rpartition("@")[2] == asked.domain)
            and (self._tenant is None or tenant == self._tenant)
            and (asked.topic is None or topic == asked.topic)
            and (asked.reason is None or value.reason == asked.reason)
            and (asked.since is None or value.created_at >= asked.since)
            and (asked.until is None or value.created_at < asked.until)
            and (self._text in subject or self._text in value.note.lower())
        )

    async def all(self, deps: Dependencies) -> AsyncIterator[Sequence[Suppressed]]:
        """Page by page; other requests run between them. Most pages of a short list are empty and cost no rest."""
        place: SuppressionPlace | None = SuppressionPlace()
        looked = 0
        while place is not None:
            page = await deps.suppressions.page(place, self.subject)
            yield [item for item in page.items if self.takes(item)]
            place, looked = page.after, looked + len(page.items)
            if looked >= SLICE:
                await deps.turns.rest()
                looked = 0
