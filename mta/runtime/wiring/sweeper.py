"""The parts of the sweeper process: which adapters and services it is made of, and what each is given."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from mta.orders.account import Accounts
from mta.orders.order_book import OrderBook
from mta.redis_store.books import StoredBooks
from mta.redis_store.libraries import StoredLibraries
from mta.redis_store.load import MeasuredLoad
from mta.redis_store.messages import StoredMessages
from mta.redis_store.preview_store import StoredPreviews
from mta.redis_store.reaction_store import StoredReactions
from mta.redis_store.release_store import StoredReleases
from mta.redis_store.site_notes import StoredSiteNotes
from mta.redis_store.suppression_store import StoredSuppressions
from mta.redis_store.sweep_store import StoredSweeps
from mta.redis_store.undo_copy_store import StoredUndoCopies
from mta.rules.guard import Guard
from mta.runtime.child import Child
from mta.runtime.old_libraries import OldLibraries
from mta.runtime.wiring.destinations import destinations_of
from mta.runtime.wiring.dkim import record_watch
from mta.runtime.wiring.opening import open_store
from mta.runtime.wiring.rules import stored_rules, stored_sets
from mta.sweeps.bounded_orders import BoundedOrders
from mta.sweeps.expired_suppressions import SuppressionCleaner
from mta.sweeps.pace import Pace
from mta.sweeps.previews import PreviewCounter
from mta.sweeps.reaction_pauses import ReactionPauses
from mta.sweeps.release import Releaser
from mta.sweeps.sites_of_mail import SitesOfMail
from mta.sweeps.staged_release import StagedReleaser
from mta.sweeps.sweep_moves import Decider
from mta.sweeps.sweeper import Sweeper
from mta.sweeps.undo_copies import UndoCopyCleaner
from mta.sweeps.unserved import UnservedWatch
from mta.timing.clock import wall_ms


class Work(Protocol):
    """One kind of work of the process."""

    async def run(self) -> None:
        """Until `stop`."""
        ...

    def stop(self) -> None: ...


class SweeperParts(NamedTuple):
    """Nothing of it is started."""

    guard: Guard
    works: Sequence[Work]
    listen: Callable[[], asyncio.Task[None]]
    close: Callable[[], Awaitable[None]]


async def open_sweeper(child: Child) -> SweeperParts:
    """Raises SettingsError."""
    settings = child.settings
    store = await open_store(settings, child.boot.redis_url, "sweeper", ("sweeper",), child.stopping)
    node, retention = settings.node.name, settings.status.retention
    rules = stored_rules(store, settings)
    sweeps = StoredSweeps(store.link, store.lanes, retention)
    load = MeasuredLoad(store.link, store.lanes)
    figures: dict[str, float] = {}
    destinations = destinations_of(settings, StoredSiteNotes(store.link))
    sites = SitesOfMail(destinations.sites)
    guard = Guard(
        rules, "", metrics=lambda: figures, protected=settings.rules.protected_tags, sites=destinations.sites.of
    )
    books, orders = StoredBooks(store.link, store.lanes), OrderBook(rules, sweeps)
    pace = Pace(load, settings.rules.sweep_rate, settings.journal.backlog_soft)
    decider = Decider(node, int(settings.rules.undo_window * 1000), wall_ms)
    accounts = Accounts(rules, stored_sets(store, rules, settings), books)
    works: tuple[Work, ...] = (
        Sweeper(sweeps, guard, rules, decider, pace, accounts.at_the_end, sites),
        Releaser(sweeps, guard, decider, pace, sites),
        StagedReleaser(guard, rules, StoredReleases(store.link, store.lanes), sweeps, decider, pace, sites),
        BoundedOrders(guard, rules, orders, sweeps, books, figures, sites),
        PreviewCounter(StoredPreviews(store.link), sweeps, guard, pace, lambda: rules.session, sites),
        UndoCopyCleaner(StoredUndoCopies(store.link, store.lanes, settings.rules.undo_window), load),
        UnservedWatch(sweeps, rules, StoredMessages(store.link, store.lanes, retention), node),
        OldLibraries(StoredLibraries(store.link), rules),
        record_watch(store, settings),
        SuppressionCleaner(StoredSuppressions(store.link)),
        ReactionPauses(guard, orders, StoredReactions(store.link)),
    )

    async def close() -> None:
        await orders.stop()
        await destinations.close()
        await store.link.close()

    return SweeperParts(guard, works, store.link.listen, close)
