"""The parts of the journal process: the log, the spool, the store's events, and the service that moves them."""

import asyncio
from collections.abc import Callable, Sequence

from mta.journal.auto_suppressions import AutoSuppressions
from mta.journal.erasures import Erasures
from mta.journal.folding import Folding
from mta.journal.history_feed import HistoryFeed
from mta.journal.holder_first import HolderFirst
from mta.journal.journal import Journal
from mta.journal.leases import LEASE
from mta.journal.site_book import SiteBook
from mta.log_file.delivery_log import DeliveryLog
from mta.log_file.lines import log_lines
from mta.log_file.search import files_with
from mta.model.settings import Settings
from mta.ports.event_sinks import EventSink
from mta.ports.sites import SiteArchive
from mta.ports.spool import Spool
from mta.redis_store.history_orders import StoredHistoryOrders
from mta.redis_store.outbox import StoredOutbox, StoredTail
from mta.redis_store.resting_tags import StoredRestingTags
from mta.redis_store.suppression_store import StoredSuppressions
from mta.runtime.child import Child
from mta.runtime.journal_name import journal_name
from mta.runtime.wiring.history import history_writer, open_eraser
from mta.runtime.wiring.opening import OpenStore, open_store
from mta.runtime.wiring.sites import noted_sites
from mta.spool_files.spool import FileSpool


async def open_journal_store(child: Child) -> OpenStore:
    """Raises SettingsError."""
    return await open_store(child.settings, child.boot.redis_url, "journal", ("journal",), child.stopping)


def open_log(settings: Settings) -> EventSink:
    """Raises OSError: the log cannot be written, or another process writes it."""
    return DeliveryLog(settings.journal.log_path, log_lines)


def open_spool(settings: Settings) -> Spool:
    """Raises OSError: its folder cannot be used, or another process has it."""
    return FileSpool(f"{settings.node.data_dir}/journal", settings.journal.spool_max)


async def make_journal(settings: Settings, store: OpenStore, spool: Spool, log: EventSink) -> Journal:
    """Raises SettingsError, StoreError."""
    outbox = StoredOutbox(store.link, store.lanes)
    writer, must_wait = history_writer(settings), None
    if settings.history.url == "sqlite" and await store.cluster.history_holder() != settings.node.name:
        writer, must_wait = None, HolderFirst(outbox, store.cluster.history_holder, LEASE).must_wait
    history = None if writer is None else HistoryFeed(writer, spool, "history")
    orders = StoredHistoryOrders(store.link)
    erasures = Erasures(
        orders,
        settings.node.name,
        lambda address: files_with(settings.journal.log_path, address),
        None if history is None else lambda: open_eraser(settings),
        *(() if history is None else (history.between_rounds, history.mark)),
    )

    def folding(lanes: Callable[[], Sequence[int]]) -> Folding:
        tags, retention = StoredRestingTags(store.link), settings.status.retention
        return Folding(tags, retention, lanes, writer, None if history is None else history.between_rounds)

    return Journal(
        outbox,
        spool,
        _sinks(settings, store, log),
        StoredTail(store.link, log_lines),
        journal_name(settings.node.name, store.session.pid),
        settings.node.name,
        settings.journal,
        history,
        must_wait,
        orders,
        erasures,
        None if writer is None and must_wait is not None else folding,
        None if writer is None or history is None else _site_book(settings, store, writer, history),
    )


def _sinks(settings: Settings, store: OpenStore, log: EventSink) -> dict[str, EventSink]:
    if "hard_bounce" not in settings.suppressions.auto:
        return {"log": log}
    return {"log": log, "suppressions": AutoSuppressions(StoredSuppressions(store.link), asyncio.get_running_loop())}


def _site_book(settings: Settings, store: OpenStore, archive: SiteArchive, history: HistoryFeed) -> SiteBook:
    return SiteBook(noted_sites(store, settings), archive, history.take_domains, history.between_rounds)
