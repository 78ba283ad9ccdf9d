"""The deliveries that a request selects: a filter for the database, and what only a look at each row can tell."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from control_api.http.problems import Problem
from control_api.schemas.history_queries import MessagesQuery
from mta.model.actor import Actor
from mta.model.status import DeliveryRow, Reason, Standing, Status, standing_of
from mta.ports.history import RowFilter

Keeps = Callable[[DeliveryRow], bool]


class Selection(NamedTuple):
    """Rows that the filter finds, and of these those that `keeps` takes; None: all of them."""

    wanted: RowFilter
    keeps: Keeps | None = None

    def of(self, rows: Sequence[DeliveryRow]) -> Sequence[DeliveryRow]:
        keeps = self.keeps
        return rows if keeps is None else [row for row in rows if keeps(row)]


_ARRIVED: Final = frozenset({Status.SENT, Status.DELIVERED})
_UNDELIVERABLE: Final = frozenset({Status.UNDELIVERABLE})
_OF_CLASS: Final[dict[str, tuple[frozenset[Status], frozenset[Reason]]]] = {
    "delivered": (_ARRIVED, frozenset()),
    "intercepted": (_UNDELIVERABLE, frozenset({Reason.INTERCEPTED})),
    "bounced": (_UNDELIVERABLE, frozenset({Reason.BOUNCED, Reason.UNROUTABLE})),
    "expired": (_UNDELIVERABLE, frozenset({Reason.EXPIRED})),
    "canceled": (frozenset({Status.CANCELED}), frozenset()),
    "filtered": (frozenset({Status.FILTERED}), frozenset()),
    "throttled": (frozenset({Status.THROTTLED}), frozenset()),
    "simulated": (frozenset({Status.SIMULATED}), frozenset()),
    "queued": (frozenset({Status.ENQUEUED, Status.DELAYED}), frozenset()),
    "held": (frozenset({Status.HELD}), frozenset()),
}


def tenant_of(actor: Actor, asked: str | None = None) -> str | None:
    """The tenant whose mail the actor may see of what it asks for, None = all. Raises Problem 403."""
    if not actor.tenant:
        return asked
    if asked not in (None, actor.tenant):
        raise Problem(403, f"the token is bound to tenant {actor.tenant}", "tenant")
    return actor.tenant


def selection_of(asked: MessagesQuery, actor: Actor) -> RowFilter:
    """Raises Problem 403."""
    return RowFilter(
        tag=asked.tag,
        tenant=tenant_of(actor, asked.tenant),
        recipient=asked.recipient,
        sender=asked.sender,
        domain=asked.domain,
        pool=asked.pool,
        site=asked.site,
        statuses=frozenset(asked.statuses),
        rule=asked.rule,
        category=asked.category,
        accepted_from=asked.since,
        accepted_until=asked.until,
    )


def of_class(wanted: RowFilter, name: str | None) -> Selection:
    """The deliveries of one class of a statement, None = of all."""
    if name is None:
        return Selection(wanted)
    if name == "uncertain":
        return Selection(structs.replace(wanted, uncertain=True))
    statuses, reasons = _OF_CLASS[name]
    chosen = structs.replace(wanted, statuses=statuses)
    return Selection(chosen, None if not reasons else lambda row: _has(standing_of(row.last), reasons))


def _has(standing: Standing, reasons: frozenset[Reason]) -> bool:
    return standing.reason in reasons
