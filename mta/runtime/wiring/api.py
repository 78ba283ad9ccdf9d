"""The parts of the API process that are not HTTP: the ports that its handlers call."""

import contextlib
import functools
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from mta.log_file.lines import log_lines
from mta.model.errors import StoreError
from mta.model.replies import ReplyEntry
from mta.model.settings import Settings
from mta.orders.canary import Canary
from mta.orders.cancellation import Cancellation
from mta.orders.order_book import OrderBook
from mta.orders.parked import ParkedOrders
from mta.orders.queue_work import QueueWorker, Rules
from mta.orders.set_orders import SetOrders
from mta.orders.stored_mail import MailInStore
from mta.orders.undo import UndoRuns
from mta.ports.access import LiveEvents, StoreFate, Tokens
from mta.ports.audit import Audit
from mta.ports.books import Books
from mta.ports.brakes import BrakeStore
from mta.ports.canaries import Canaries
from mta.ports.dkim import KeyOrders
from mta.ports.domains import DomainChecks
from mta.ports.event_sinks import Item
from mta.ports.history import History
from mta.ports.history_orders import HistoryOrders
from mta.ports.journal import Journals
from mta.ports.kept_answers import KeptAnswers
from mta.ports.limits import LimitOrderStore, LimitReader
from mta.ports.messages import Messages
from mta.ports.parked import ParkedMail
from mta.ports.pools import PoolStore
from mta.ports.previews import PreviewStore
from mta.ports.queue_work import QueueWork, QueueWorkStore
from mta.ports.quotas import QuotaStore
from mta.ports.releases import ReleaseStore
from mta.ports.replies import ReplyStore
from mta.ports.rule_sets import RuleSets
from mta.ports.rule_store import RuleStore
from mta.ports.sites import SiteLookup
from mta.ports.store_load import StoreLoad
from mta.ports.stored_mail import StoredMail
from mta.ports.suppressions import SuppressionStore
from mta.ports.sweeps import SweepStore
from mta.ports.templates import TemplateStore
from mta.ports.tls_results import TlsResults
from mta.ports.tracking import EngagementStore
from mta.ports.undo import UndoCopyStore
from mta.redis_store.api_tokens import StoredTokens
from mta.redis_store.audit import StoredAudit
from mta.redis_store.books import StoredBooks
from mta.redis_store.brake_store import StoredBrakes
from mta.redis_store.canary_store import StoredCanaries
from mta.redis_store.foundation import Foundation
from mta.redis_store.history_orders import StoredHistoryOrders
from mta.redis_store.kept_answers import StoredAnswers
from mta.redis_store.limit_orders import StoredLimitOrders
from mta.redis_store.limit_reader import StoredLimitReader
from mta.redis_store.link import Link
from mta.redis_store.load import MeasuredLoad
from mta.redis_store.messages import StoredMessages
from mta.redis_store.outbox import StoredOutbox, StoredTail
from mta.redis_store.parked_store import StoredParked
from mta.redis_store.pool_store import StoredPools
from mta.redis_store.preview_store import StoredPreviews
from mta.redis_store.queue_work_store import StoredQueueWork
from mta.redis_store.queues import Queues
from mta.redis_store.quota_store import StoredQuotas
from mta.redis_store.release_store import StoredReleases
from mta.redis_store.reply_store import StoredReplies
from mta.redis_store.suppression_store import StoredSuppressions
from mta.redis_store.sweep_store import StoredSweeps
from mta.redis_store.template_store import StoredTemplates
from mta.redis_store.tls_results import StoredTlsResults
from mta.redis_store.tracking_store import StoredEngagement
from mta.redis_store.undo_copy_store import StoredUndoCopies
from mta.runtime.child import Child
from mta.runtime.room import Room
from mta.runtime.store_probe import StoreProbe
from mta.runtime.wiring.deciders import suppressed_only
from mta.runtime.wiring.dkim import domain_check, key_book
from mta.runtime.wiring.history import open_history
from mta.runtime.wiring.opening import OpenStore, open_store, patiently
from mta.runtime.wiring.queues import stored_content, stored_queues
from mta.runtime.wiring.rules import stored_rules, stored_sets
from mta.runtime.wiring.sites import noted_sites
from mta.runtime.wiring.webhooks import endpoint_book
from mta.settings_file.shipped_replies import shipped_replies
from mta.webhooks.endpoint_book import EndpointBook


class ApiParts(NamedTuple):
    """The orders are open."""

    orders: OrderBook
    set_orders: SetOrders
    sets: RuleSets
    undo: UndoRuns
    rules: RuleStore
    sweeps: SweepStore
    previews: PreviewStore
    releases: ReleaseStore
    canaries: Canaries
    brakes: BrakeStore
    canary: Canary
    undo_copies: UndoCopyStore
    books: Books
    messages: Messages
    parked: ParkedMail
    limits: LimitReader
    limit_orders: LimitOrderStore
    tls_results: TlsResults
    engagement: EngagementStore
    sites: SiteLookup
    queue_work: Callable[[Rules], QueueWork]  # by the rules that it asks for
    load: StoreLoad
    tail: LiveEvents
    journals: Journals
    tokens: Tokens
    audit: Audit
    answers: KeptAnswers
    fate: StoreFate
    stored_mail: StoredMail
    dkim: KeyOrders
    domains: DomainChecks
    replies: ReplyStore
    pools: PoolStore
    templates: TemplateStore
    quotas: QuotaStore
    suppressions: SuppressionStore
    webhooks: EndpointBook
    shipped_replies: Callable[[], dict[str, ReplyEntry]]
    intake: Queues
    history: History
    history_orders: HistoryOrders
    log_lines: Callable[[Sequence[Item]], bytes]
    probe: StoreProbe
    room: Room
    close_store: Callable[[], Awaitable[None]]

    async def close(self) -> None:
        """Once no request is served any more."""
        await self.undo.stop()
        await self.set_orders.stop()
        await self.orders.stop()
        await self.webhooks.close()
        await self.probe.close()
        await self.history.close()
        if self.intake.has_accepted:
            with contextlib.suppress(StoreError):
                await self.intake.farewell()
        await self.close_store()


async def open_api(child: Child, waits: Callable[[StoreError], None]) -> ApiParts:
    """Waits for the store, and calls `waits` with each reason. Raises SettingsError."""
    settings, store = child.settings, await _store(child, waits)
    link, lanes, node, retention = store.link, store.lanes, settings.node.name, settings.status.retention
    rules, copies, sites = stored_rules(store, settings), _undo_copies(store, settings), noted_sites(store, settings)
    sweeps, messages = StoredSweeps(link, lanes, retention), StoredMessages(link, lanes, retention)
    orders, load, content = OrderBook(rules, sweeps), MeasuredLoad(link, lanes), stored_content(store, settings)
    history, room = await _history(child, store, orders), Room(settings)
    return ApiParts(
        **_of_link(link),
        orders=orders,
        set_orders=SetOrders(orders, rules, sets := stored_sets(store, rules, settings)),
        sets=sets,
        undo=UndoRuns(orders, rules, copies, node, int(settings.rules.undo_window * 1000)),
        rules=rules,
        sweeps=sweeps,
        releases=StoredReleases(link, lanes),
        brakes=StoredBrakes(link, lanes),
        canary=Canary(rules, StoredCanaries(link), node),
        undo_copies=copies,
        books=StoredBooks(link, lanes, history),
        messages=Cancellation(messages, node, settings.redis.timeout),
        sites=sites,
        parked=ParkedOrders(StoredParked(link, lanes, retention), messages, node),
        queue_work=partial(_queue_worker, StoredQueueWork(link, lanes, sweeps), sweeps, load, sites, settings),
        load=load,
        journals=StoredOutbox(link, lanes),
        dkim=key_book(store, settings),
        domains=domain_check(store, settings),
        webhooks=endpoint_book(store, settings),
        shipped_replies=functools.cache(shipped_replies),
        stored_mail=MailInStore(
            messages,
            content,
            intake := stored_queues(store, settings, content),
            room.takes,
            decide=suppressed_only(link, node),
        ),
        answers=StoredAnswers(link, lanes, settings.messages.idempotency_window, settings.messages.idempotency_memory),
        intake=intake,
        history=history,
        log_lines=log_lines,
        room=room,
        close_store=link.close,
    )


def _of_link(link: Link) -> dict[str, Any]:
    """The parts that need the store alone."""
    return {
        "previews": StoredPreviews(link),
        "canaries": StoredCanaries(link),
        "limits": StoredLimitReader(link),
        "limit_orders": StoredLimitOrders(link),
        "tls_results": StoredTlsResults(link),
        "engagement": StoredEngagement(link),
        "tail": StoredTail(link, log_lines),
        "tokens": StoredTokens(link),
        "audit": StoredAudit(link),
        "fate": Foundation(link),
        "replies": StoredReplies(link),
        "pools": StoredPools(link),
        "templates": StoredTemplates(link),
        "quotas": StoredQuotas(link),
        "suppressions": StoredSuppressions(link),
        "history_orders": StoredHistoryOrders(link),
        "probe": StoreProbe(link),
    }


async def _store(child: Child, waits: Callable[[StoreError], None]) -> OpenStore:
    return await open_store(child.settings, child.boot.redis_url, "api", ("api",), child.stopping, waits)


async def _history(child: Child, store: OpenStore, orders: OrderBook) -> History:
    """Once the orders that an earlier process left behind are followed."""
    await patiently(orders.start, child.stopping)
    return await patiently(lambda: open_history(child.settings, store), child.stopping)


def _undo_copies(store: OpenStore, settings: Settings) -> StoredUndoCopies:
    return StoredUndoCopies(store.link, store.lanes, settings.rules.undo_window)


def _queue_worker(
    work: QueueWorkStore, sweeps: SweepStore, load: StoreLoad, sites: SiteLookup, settings: Settings, table: Rules
) -> QueueWorker:
    return QueueWorker(work, sweeps, load, table, sites, settings.node.name, settings.journal.backlog_soft)
