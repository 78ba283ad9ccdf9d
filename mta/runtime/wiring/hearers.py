"""The parts of a worker that hear the replies of destinations: reactions and slow start."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, ParamSpec

from mta.egress.egress import Egress
from mta.egress.egress_ports import Refused
from mta.model.limit_orders import LimitOrders
from mta.model.mail import Claimed
from mta.model.outcomes import Outcome
from mta.model.pools import PoolSettings
from mta.model.settings import Settings
from mta.policy.reactions import ReactionBook
from mta.ports.audit import Audit
from mta.ports.delivery import Sites
from mta.ports.limits import LimitOrderStore
from mta.ports.reactions import ReactionStore
from mta.scheduling.reaction_watch import ReactionWatch
from mta.scheduling.settler import Settler
from mta.scheduling.slow_start import SlowStart

_Heard = ParamSpec("_Heard")


class Hearers(NamedTuple):
    """Each may be absent: None."""

    reactions: ReactionWatch | None
    slow_start: SlowStart | None

    @property
    def there(self) -> Sequence[ReactionWatch | SlowStart]:
        return [part for part in self if part is not None]

    @property
    def failed(self) -> Callable[[Claimed, Outcome], None] | None:
        return _to_each([part.failed for part in self.there])

    @property
    def refused(self) -> Refused | None:
        return _to_each([part.refused for part in self.there])

    def attach(self, egress: Egress, settler: Settler) -> Callable[[LimitOrders], None] | None:
        """Returns the call that wants to hear of the limit orders; None: none does."""
        slow_start = self.slow_start
        if slow_start is None:
            return None

        def listen(wanted: bool) -> None:
            settler.delivered = slow_start.delivered if wanted else None

        slow_start.attach(egress.connections_on, listen)
        return slow_start.take_orders


def hearers(
    settings: Settings,
    own: Mapping[str, PoolSettings],
    sites: Sites,
    store: ReactionStore,
    limits: LimitOrderStore,
    audit: Audit,
) -> Hearers:
    """`own`: the pools of the settings file."""
    book, node = ReactionBook(settings.reactions), settings.node.name
    workers = settings.node.workers or os.cpu_count() or 1
    return Hearers(
        ReactionWatch(book, sites, own, node, store, limits, audit) if book else None,
        SlowStart(sites, node, workers, own, limits) if settings.delivery.slow_start else None,
    )


def _to_each(hear: Sequence[Callable[_Heard, None]]) -> Callable[_Heard, None] | None:
    """One call for all of them; None: there are none."""
    if len(hear) < 2:
        return hear[0] if hear else None

    def tell(*args: _Heard.args, **kwargs: _Heard.kwargs) -> None:
        for one in hear:
            one(*args, **kwargs)

    return tell
