"""The parts that the wiring gives the API: ports, and a few facts about this node."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from control_api.catalogue import Catalogue
from control_api.http.turns import Turns
from control_api.nearest_tags import NearestTags
from control_api.pool_depths import MeasuredDepths
from mta.model.pools import PoolSettings
from mta.model.reactions import ReactionSettings
from mta.model.replies import ReplyEntry
from mta.model.settings import ApiSettings
from mta.policy.shaping import Shaping
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
from mta.ports.orders import Orders, SetOrders
from mta.ports.parked import ParkedMail
from mta.ports.pools import PoolStore
from mta.ports.previews import PreviewStore
from mta.ports.queue_work import QueueWork
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
from mta.ports.undo import Undo, UndoCopyStore
from mta.ports.webhooks import EndpointOrders


@dataclass(frozen=True)
class Dependencies:
    """Everything that a handler may touch."""

    orders: Orders
    set_orders: SetOrders
    sets: RuleSets
    undo: Undo
    rules: RuleStore
    catalogue: Catalogue
    sweeps: SweepStore
    previews: PreviewStore
    releases: ReleaseStore
    canaries: Canaries
    brakes: BrakeStore
    load: StoreLoad
    undo_copies: UndoCopyStore
    books: Books
    depths: MeasuredDepths
    nearest_tags: NearestTags
    messages: Messages
    queue_work: QueueWork
    parked: ParkedMail
    limits: LimitReader
    limit_orders: LimitOrderStore
    sites: SiteLookup
    shaping: Shaping  # of the settings of this node
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
    history: History
    history_orders: HistoryOrders
    tls_results: TlsResults
    engagement: EngagementStore
    webhooks: EndpointOrders
    log_lines: Callable[[Sequence[Item]], bytes]  # events as lines of the delivery log
    node: str  # this node's name; a rule with `cluster: false` is bound to it
    api: ApiSettings
    health: Callable[[], Awaitable[str]]  # why the store cannot be worked with, "" = it can; may raise StoreError
    own_replies: Mapping[str, ReplyEntry] = field(default_factory=dict)  # of the settings
    reactions: Sequence[ReactionSettings] = ()  # of the settings
    shipped_replies: Callable[[], Mapping[str, ReplyEntry]] = dict
    workers: int = 0  # delivery processes that this node should have, 0 = none
    own_pools: Mapping[str, PoolSettings] = field(default_factory=dict)  # of the settings
    protected_tags: tuple[str, ...] = ()  # of the settings
    tracks: bool = False  # opens and clicks of mail are heard of here
    idempotency_memory: int = 256 * 1024**2  # bytes, of the settings
    retention: float = 86400.0  # seconds, of the settings: how long ended deliveries and removed rules can be read
    turns: Turns = field(default_factory=Turns)
    inject_socket: str = ""  # path of the socket of the process that takes mail


DEPENDENCIES = web.AppKey("dependencies", Dependencies)


def of(request: web.Request) -> Dependencies:
    """The dependencies of the application that serves `request`."""
    return request.app[DEPENDENCIES]
