"""The parts of a worker process: which adapters and services it is made of, and what each is given."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from mta.admission.at_acceptance import AcceptanceRules
from mta.admission.group_commit import GroupCommit
from mta.admission.key_memory import KeyMemory
from mta.admission.once import OncePerKey
from mta.admission.other_deciders import OtherDeciders
from mta.admission.submission import TrustedSubmissions
from mta.brakes.watch import BrakeWatch
from mta.egress.egress import Egress
from mta.egress.egress_ports import EgressPorts
from mta.egress.reply_knowledge import ReplyKnowledge
from mta.egress.reply_watch import ReplyWatch
from mta.ingress.listener import Listener
from mta.ingress.turn_away import TurnAway
from mta.model.errors import reason_of
from mta.model.pools import PoolSettings
from mta.model.settings import Settings
from mta.policy.shaping import Shaping
from mta.policy.tenant_terms import ShareWeights
from mta.ports.admission import ClaimOnAccept, Submissions
from mta.redis_store.audit import StoredAudit
from mta.redis_store.brake_store import StoredBrakes
from mta.redis_store.limit_orders import StoredLimitOrders
from mta.redis_store.limit_store import StoredLimits
from mta.redis_store.load import MeasuredLoad
from mta.redis_store.notices import PublishedNotices
from mta.redis_store.pool_store import StoredPools
from mta.redis_store.reaction_store import StoredReactions
from mta.redis_store.reply_store import StoredReplies
from mta.redis_store.site_notes import StoredSiteNotes
from mta.redis_store.sweep_store import StoredSweeps
from mta.redis_store.tls_results import StoredTlsResults
from mta.rules.guard import Guard
from mta.runtime.child import Child
from mta.runtime.figures import Figures
from mta.runtime.inbound import Inbound
from mta.runtime.outbound import Outbound
from mta.runtime.pool_watch import PoolWatch
from mta.runtime.room import Room
from mta.runtime.secret_files import read_logins
from mta.runtime.served_pools import ServedPools
from mta.runtime.store_probe import StoreProbe
from mta.runtime.wiring.brakes import BrakeParts, brake_puller
from mta.runtime.wiring.deciders import Suppressions, other_deciders, suppressions_of
from mta.runtime.wiring.destinations import Destinations, destinations_of
from mta.runtime.wiring.hearers import hearers
from mta.runtime.wiring.mta_sts import sts_parts
from mta.runtime.wiring.opening import OpenStore, open_store
from mta.runtime.wiring.queues import stored_content, stored_queues
from mta.runtime.wiring.rules import stored_rules
from mta.runtime.wiring.shared_memory import Shared, shared_in
from mta.runtime.wiring.signing import Signing, open_signing
from mta.runtime.wiring.sites import site_table
from mta.scheduling.claim_lanes import ClaimLanes
from mta.scheduling.dispatcher import Dispatcher
from mta.scheduling.limit_watch import LimitWatch
from mta.scheduling.limits import SharedLimits
from mta.scheduling.queue_room import QueueRoom
from mta.scheduling.reaper import Reaper
from mta.scheduling.settler import Settler
from mta.scheduling.warm_ups import WarmUps
from mta.settings_file.shipped_replies import shipped_replies
from mta.signing.mail_signer import MailSigner


class WorkerParts(NamedTuple):
    """Nothing of it is started."""

    guard: Guard
    reaper: Reaper
    inbound: Inbound | None  # None: this node does not take mail
    outbound: Outbound | None  # None: this node does not deliver
    signing: Signing | None  # None: this node signs no mail
    brakes: BrakeParts | None  # None: this node does not deliver
    suppressions: Suppressions
    store: "WorkerStore"


class WorkerStore:
    """The adapters of a worker, for one session."""

    def __init__(self, store: OpenStore, settings: Settings) -> None:
        link, session = store.link, store.session
        self.session = session
        self.listen = link.listen
        self.close = link.close
        self.health = self.link = link
        self.rules = stored_rules(store, settings)
        self.content = stored_content(store, settings)
        self.queues = stored_queues(store, settings, self.content)
        self.load = MeasuredLoad(link, store.lanes)
        self.sweeps = StoredSweeps(link, store.lanes, settings.status.retention)
        self.limits = StoredLimits(link, session)
        self.limit_orders = StoredLimitOrders(link)
        self.reactions = StoredReactions(link)
        self.audit = StoredAudit(link)
        self.sites = StoredSiteNotes(link)
        self.notices = PublishedNotices(link)
        self.pools = StoredPools(link)
        self.replies = StoredReplies(link)
        self.brakes = StoredBrakes(link, store.lanes)

    async def farewell(self) -> None:
        """Give back all claims and limits of this session. Raises StoreError."""
        await self.queues.farewell()
        await self.limits.forget(self.session.id)


async def open_worker(child: Child, waiting: TurnAway) -> WorkerParts:
    """`waiting` tells clients why they have to wait. Raises SettingsError."""
    settings = child.settings
    roles = tuple(role for role in ("smtp", "delivery") if role in settings.node.roles)
    opened = await open_store(
        settings,
        child.boot.redis_url,
        "worker",
        roles,
        child.stopping,
        lambda error: waiting.because(lambda: reason_of(error)),
    )
    store = WorkerStore(opened, settings)
    figures = Figures()
    shared = shared_in(child.boot.memory)
    destinations = destinations_of(settings, store.sites, shared.answers) if "delivery" in roles else None
    guard = Guard(
        store.rules,
        settings.node.name,
        metrics=figures,
        protected=settings.rules.protected_tags,
        sites=site_table(settings).of_domain if destinations is None else destinations.sites.of,
    )
    reaper = Reaper(store.rules, store.queues, store.limits, settings.delivery.lease)
    store.notices.on_death(reaper.look_now)
    figures.join(reaper.metrics)
    watch, suppressions = BrakeWatch(store.brakes, opened.lanes), suppressions_of(store.link)
    outbound, delivery = None, None
    if destinations is not None:
        outbound, delivery = _outbound(settings, store, guard, watch, suppressions, destinations, shared)
    signing = open_signing(settings, opened) if "smtp" in roles else None
    signer = None if signing is None else signing.signer
    inbound, submissions = None, _own_mail(settings, store, guard)
    if "smtp" in roles:
        others = other_deciders(store.link, guard, suppressions, settings.node.name)
        inbound, submissions = _inbound(settings, store, guard, waiting, delivery, signer, others)
    brakes = BrakeParts(watch, brake_puller(store, watch, guard, submissions, settings)) if outbound else None
    for part in (inbound, outbound, signer, watch, suppressions):
        if part is not None:
            figures.join(part.metrics)
    return WorkerParts(guard, reaper, inbound, outbound, signing, brakes, suppressions, store)


def _inbound(
    settings: Settings,
    store: WorkerStore,
    guard: Guard,
    waiting: TurnAway,
    delivery: ClaimOnAccept | None,
    signer: MailSigner | None,
    others: OtherDeciders,
) -> tuple[Inbound, Submissions]:
    """`delivery` is that of this process, if it delivers; `signer` None: no mail is signed."""
    room = Room(settings)
    admission = GroupCommit(
        store.queues,
        settings.smtp.commit_delay,
        AcceptanceRules(guard, settings.node.name, settings.rules.undo_window).decide,
        others=others,
        delivery=delivery,
        clients=lambda: listener.connections_open,
        has_room=room.takes,
    )
    memory = KeyMemory(store.load, settings.messages.idempotency_memory)
    once = OncePerKey(admission, store.queues.lanes, settings.messages.idempotency_window, memory.has_room)
    submissions = TrustedSubmissions(settings, admission, lambda: guard.table.tenants, signer, once=once)
    listener = Listener(waiting.sockets, settings, submissions, admission, waiting.loads)
    return Inbound(waiting, listener, admission, once, StoreProbe(store.health), room, memory), submissions


def _own_mail(settings: Settings, store: WorkerStore, guard: Guard) -> Submissions:
    """The way in for mail of the node itself, where it takes no mail of others."""
    rules = AcceptanceRules(guard, settings.node.name, settings.rules.undo_window)
    admission = GroupCommit(store.queues, settings.smtp.commit_delay, rules.decide)
    once = OncePerKey(admission, store.queues.lanes, settings.messages.idempotency_window, lambda: True)
    return TrustedSubmissions(settings, admission, once=once)


def _outbound(
    settings: Settings,
    store: WorkerStore,
    guard: Guard,
    brakes: BrakeWatch,
    suppressions: Suppressions,
    destinations: Destinations,
    shared: Shared,
) -> tuple[Outbound, ClaimOnAccept]:
    own, settings = settings.pools, replace(settings, pools={})  # the pool watch gives those that are in force
    logins = read_logins(settings)
    resolver, sites = destinations
    shaping = Shaping(settings)
    limits, warm_ups = SharedLimits(store.limits, shaping), WarmUps(store.limits)
    weights = ShareWeights()
    guard.on_change(weights.take)
    room = QueueRoom(lanes := ClaimLanes(store.queues.lanes, weights))
    hear = hearers(settings, own, sites, store.reactions, store.limit_orders, store.audit)
    settler = Settler(
        store.queues, guard, settings, shaping, lanes.wake, hear.failed,
        site_of=sites.of, watched=lambda: brakes.watched,
    )  # fmt: skip
    reply_watch = ReplyWatch(store.replies, replies := ReplyKnowledge(), (settings.replies, shipped_replies()))
    ports = EgressPorts(
        resolver, guard, settler, limits, sites, store.content, room, replies, weights, warm_ups,
        sts_parts(settings, resolver, store.link), StoredTlsResults(store.link),
        hear.refused,
    )  # fmt: skip
    egress, pools = Egress(settings, shaping, ports, logins, shared.hosts), ServedPools(store.sweeps.pools)
    dispatcher = Dispatcher(
        store.queues, egress, guard, settler, pools, lanes, room,
        simulate_domain=settings.messages.simulate_domain, suppressions=suppressions.looks,
    )  # fmt: skip

    def wake(lane: int) -> None:
        lanes.wake(lane)
        pools.look_soon()

    store.notices.on_queued(wake)
    store.notices.on_retry(egress.retry_now)
    store.notices.on_slots(limits.heard)
    store.notices.on_reconnect(pools.look_soon)
    store.notices.on_reconnect(lanes.wake_all)
    guard.on_lost(limits.renew)
    limit_watch = LimitWatch(store.limit_orders, shaping, egress.limits_changed, heard=hear.attach(egress, settler))
    closes = warm_ups.drain, sites.close, resolver.close
    takers: list[Callable[[Mapping[str, PoolSettings]], None]] = [warm_ups.take_pools, egress.take_pools, pools.take]
    takers += [part.take_pools for part in hear.there]
    watches = _pool_watch(store, own, takers, lanes), reply_watch, limit_watch, hear.there
    return Outbound(dispatcher, egress, settler, limits, pools, *watches, closes), dispatcher


def _pool_watch(
    store: WorkerStore,
    own: Mapping[str, PoolSettings],
    takers: Sequence[Callable[[Mapping[str, PoolSettings]], None]],
    lanes: ClaimLanes,
) -> PoolWatch:
    """`own`: the pools of the settings file."""

    def take(served: Mapping[str, PoolSettings]) -> None:
        for taker in takers:
            taker(served)
        lanes.wake_all()

    return PoolWatch(store.pools, own, take)
