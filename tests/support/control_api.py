"""The ports behind the control API, in memory, for tests of its handlers."""

import asyncio
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from control_api.app import create_app
from control_api.catalogue import Catalogue
from control_api.dependencies import Dependencies
from control_api.nearest_tags import NearestTags
from control_api.pool_depths import MeasuredDepths
from mta.log_file.lines import log_lines
from mta.model.actor import Actor
from mta.model.api_tokens import ApiToken, new_secret
from mta.model.audit import Deed, deed_event
from mta.model.canaries import CanaryFlight
from mta.model.errors import StoreAway, UnreadableRule
from mta.model.idempotency import IdempotencyKey
from mta.model.ids import DeliveryId, MessageId
from mta.model.limit_use import LimitUse, WarmUp
from mta.model.mail import QueueKey, Record
from mta.model.pools import PoolSettings
from mta.model.previews import Preview, PreviewState, Tally
from mta.model.quotas import Quota, QuotaUse
from mta.model.rule_events import RuleEvent
from mta.model.rules import Build, Change, Head, Kind, PastDot, Rule, RuleSet, SessionState, SetMembers
from mta.model.scopes import Scope
from mta.model.settings import ApiSettings, NodeSettings, Settings
from mta.model.sweeps import SweepState
from mta.policy.bounded_orders import is_hold, passed, refused
from mta.policy.rule_effect import is_counting
from mta.policy.rule_sets import stand_in
from mta.policy.shaping import Shaping
from mta.policy.tls_results import TlsResult
from mta.ports.access import StoredToken, TokenTable
from mta.ports.audit import NotedEvent
from mta.ports.books import PoolDepth, QueueCounts, RuleAccount
from mta.ports.history import History
from mta.ports.idempotency import KeyRefusal, KeyTrouble
from mta.ports.journal import JournalState
from mta.ports.messages import DeliveryStatus
from mta.ports.orders import Effect, OrderFigures, SetEffect
from mta.ports.parked import ParkedDelivery, ParkedDone, ParkedPage, ParkedPlace, ParkedSelection
from mta.ports.queue_work import MailSelection, PagePlace, WaitingPage, WorkDone, WorkPlace
from mta.ports.quotas import QuotaTaken
from mta.ports.rule_sets import SetPlaced, StoredSet
from mta.ports.rule_store import Edit, Exists, RemovedRule
from mta.ports.stored_mail import KeptMail, Resent
from mta.ports.sweeps import WaitingDelivery
from mta.ports.tls_results import TlsDay
from mta.ports.undo import UndoProgress
from tests.support.brakes import Brakes
from tests.support.dkim_keys import domain_check, key_book
from tests.support.engagement import Engagements
from tests.support.limit_orders import LimitOrders
from tests.support.memory_history import MemoryHistory
from tests.support.memory_history_orders import MemoryHistoryOrders
from tests.support.pools import Pools
from tests.support.replies import Replies
from tests.support.suppressions import MemorySuppressions
from tests.support.templates import Templates
from tests.support.webhooks import Endpoints, Posts, endpoint_book

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
AT = 1_700_000_000_000  # Unix ms


class Cluster:
    """Every port at once; `away` makes each of them fail, `effective` is what orders answer."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self.unreadable: dict[str, UnreadableRule] = {}
        self.builds: dict[str, Build] = {}
        self.generation = 0
        self.removed: dict[str, RemovedRule] = {}
        self.sets: dict[str, StoredSet] = {}
        self.away = False
        self.effective = True
        self.bug = False
        self.past_dot: tuple[PastDot, ...] = ()
        self.waits: list[tuple[float, str]] = []
        self.orders: list[Actor] = []  # who gave each
        self.tags: dict[str, dict[str, int]] = {}
        self.counts: dict[str, dict[str, int]] = {}
        self.undoable: dict[str, int] = {}
        self.depths: dict[str, PoolDepth] = {}
        self.queue_counts: list[QueueCounts] = []
        self.states: dict[str, SessionState] = {"s1": session("s1", "n1", 11), "s2": session("s2", "n2", 22)}
        self.sweep_states: dict[str, SweepState] = {}
        self.stored_pools = ["default"]
        self.pools = Pools()
        self.templates = Templates(self.reach)
        self.engagement = Engagements()
        self.suppressions = MemorySuppressions()
        self.messages: dict[MessageId, list[DeliveryStatus]] = {}
        self.after_cancel: dict[MessageId, list[DeliveryStatus]] = {}  # what a cancellation makes of them
        self.cancel_waits: list[float] = []
        self.lines: list[tuple[str, bytes]] = []
        self.watched = 0
        self.unwatched = False  # for a while, so that the live stream lacks events
        self.backlog = 0
        self.journals: list[JournalState] = []
        self.totals: dict[str, int] = {}
        self.figures = OrderFigures(0, 0, 0, 0.0, ((0.1, 0),))
        self.token_reads = 0
        self.token_changes = 0
        self.tokens: dict[str, StoredToken] = {}
        self.deeds: list[tuple[Actor, Deed]] = []
        self.brakes = Brakes()
        self.endpoints = Endpoints(self.reach)
        self.posts = Posts()
        self.emptied_at = 0
        self.waiting: list[WaitingDelivery] = []  # in order
        self.tenants: list[str | None] = []  # whose queues were asked for
        self.settings = Settings(node=NodeSettings(name="n1"))
        self.limit_use: dict[tuple[str, str], LimitUse] = {}  # by site and scope
        self.warm_ups: dict[tuple[str, str], WarmUp] = {}  # by site and IP
        self.sites: dict[str, str] = {}  # by domain
        self.parked: list[ParkedDelivery] = []  # in order
        self.selections: list[MailSelection] = []  # that were asked for
        self.history: History = MemoryHistory()
        self.history_orders = MemoryHistoryOrders()
        self.mail: dict[MessageId, KeptMail] = {}
        self.accounts: list[RuleEvent] = []  # of removed rules
        self.resends: dict[tuple[MessageId, int], Resent | Exception] = {}  # by message and number
        self.previews: dict[str, Preview] = {}
        self.canary: CanaryFlight | None = None
        self.key_bytes = 0  # of idempotency keys
        self.answers = Answers()
        self.tally = Tally()  # what each preview counts
        self.undecided = False  # no sweeper decides about orders with a bound
        self.crowded = False  # too many previews wait

    def give_token(self, *scopes: Scope, tenant: str = "", expires_at: int = 0) -> dict[str, str]:
        """The header of a request with a new token."""
        secret = new_secret()
        token = ApiToken(id=secret.id, name="crm", scopes=tuple(map(str, scopes)), tenant=tenant, expires_at=expires_at)
        self.tokens[token.id] = StoredToken(token, secret.digest)
        self.token_changes += 1
        return {"Authorization": f"Bearer {secret.text}"}

    def reach(self) -> None:
        if self.bug:
            raise RuntimeError("secret insides")
        if self.away:
            raise StoreAway("no answer")

    def twin(self, rule: Rule) -> Rule | None:
        """The rule of the same identity."""
        found = (
            known
            for known in self.rules.values()
            if (known.kind, known.selectors) == (rule.kind, rule.selectors) and not is_hold(known)
        )
        return next(found, None)

    def decide(self, rule: Rule) -> None:
        """As sweepers decide about an order with a bound, by the count that previews have, too."""
        if not self.undecided and rule.bound is not None and is_counting(rule):
            matched, generation = self.tally.matched, rule.generation
            self.generation += 1
            if matched <= rule.bound.max_matches:
                self.rules[rule.id] = passed(rule, generation, matched, AT)
            else:
                self.removed[rule.id] = RemovedRule(refused(rule, generation, matched), AT, None, None)
                del self.rules[rule.id]

    def effect_of(self, rule: Rule, created: bool) -> Effect:
        known = tuple(self.states)
        return Effect(
            rule=rule,
            created=created,
            effective=self.effective,
            effective_at=AT if self.effective else 0,
            effective_by=AT + 5500,
            past_dot=self.past_dot,
            quiet_at=AT + 7 if self.effective else 0,
            confirmed=known if self.effective else known[:1],
            unconfirmed=() if self.effective else known[1:],
        )


def session(name: str, node: str, pid: int, generation: int = 0, dead: bool = False) -> SessionState:
    metrics = {f"serves:{pool}": 1.0 for pool in ("default", "gold", "a", "b")}
    return SessionState(name, node, pid, ("smtp", "delivery"), Head(generation, "c"), 5, AT, dead, metrics)


class Orders:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def put(self, rule: Rule, actor: Actor, wait: float, until: str) -> Effect:
        cluster = self._cluster
        cluster.reach()
        cluster.waits.append((wait, until))
        cluster.orders.append(actor)
        rule = msgspec.structs.replace(rule, created_by=actor.name)
        cluster.generation += 1
        old = None if is_hold(rule) else cluster.twin(rule)
        if old is not None:
            rule = msgspec.structs.replace(rule, id=old.id, created_at=old.created_at, created_by=old.created_by)
        rule = msgspec.structs.replace(rule, generation=cluster.generation)
        cluster.rules[rule.id] = rule
        made = cluster.effect_of(rule, old is None)
        cluster.decide(rule)
        return made

    async def edit(self, rule_id: str, edit: Edit, actor: Actor, wait: float, until: str) -> Effect | None:
        cluster = self._cluster
        cluster.reach()
        known = cluster.rules.get(rule_id)
        if known is None:
            return None
        changed = edit(known)
        twin = cluster.twin(changed)
        if twin is not None and twin.id != rule_id:
            raise Exists(twin.id)
        cluster.orders.append(actor)
        cluster.waits.append((wait, until))
        cluster.generation += 1
        rule = cluster.rules[rule_id] = msgspec.structs.replace(changed, generation=cluster.generation)
        return cluster.effect_of(rule, False)

    async def remove(self, rule_id: str, actor: Actor, wait: float, kind: Kind | None = None) -> Effect | None:
        self._cluster.reach()
        if rule_id in self._cluster.unreadable:
            raise self._cluster.unreadable[rule_id]
        rule = self._cluster.rules.get(rule_id)
        if rule is None or kind not in (None, rule.kind):
            return None
        del self._cluster.rules[rule_id]
        self._cluster.orders.append(actor)
        self._cluster.removed[rule_id] = RemovedRule(rule, AT, None, self._cluster.sweep_states.get(rule_id))
        self._cluster.generation += 1
        return self._cluster.effect_of(rule, False)

    def figures(self) -> OrderFigures:
        return self._cluster.figures

    async def effect_of_removed(self, removed: RemovedRule) -> Effect:
        return self._cluster.effect_of(removed.rule, False)

    async def effect(self, rule: Rule) -> Effect:
        self._cluster.reach()
        return self._cluster.effect_of(rule, False)


class SetOrders:
    """Rules one by one; a part of a set has 200."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def put(
        self, about: RuleSet, rules: Sequence[Rule], remove: Sequence[str], actor: Actor, wait: float, until: str
    ) -> SetEffect:
        cluster, orders = self._cluster, Orders(self._cluster)
        made, before = [], []
        for rule in rules:
            old = cluster.twin(rule)
            before.append(0 if old is None else old.generation)
            effect = await orders.put(msgspec.structs.replace(rule, set_id=about.id), actor, wait, until)
            made.append(effect.rule)
        removed = [cluster.rules[rule_id] for rule_id in remove]
        for rule_id in remove:
            await orders.remove(rule_id, actor, wait)
        about = msgspec.structs.replace(about, created_by=actor.name)
        members = SetMembers(tuple(rule.id for rule in made), tuple(remove))
        cluster.sets[about.id] = StoredSet(about, cluster.generation, members, len(made))
        placed = SetPlaced(Head(cluster.generation, "c"), tuple(made), tuple(before), tuple(removed))
        return SetEffect(cluster.effect_of(stand_in(about, cluster.generation, made), True), placed)

    async def effect(self, stored: StoredSet, standing: Sequence[Rule]) -> Effect:
        self._cluster.reach()
        return self._cluster.effect_of(stand_in(stored.set, stored.generation, standing), False)


class Undo:
    """Everything at once, or nothing while orders are not effective."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def undo(self, rule_id: str, rule: Rule | None, actor: Actor, wait: float) -> UndoProgress | None:
        cluster = self._cluster
        cluster.reach()
        cluster.orders.append(actor)
        count = cluster.undoable.get(rule_id, 0)
        if rule is None and not count:
            return None
        if rule is not None:
            rule = cluster.rules[rule_id] = msgspec.structs.replace(rule, enabled=False)
        effect = None if rule is None else cluster.effect_of(rule, False)
        if not cluster.effective:
            return UndoProgress(effect, 0, count, False)
        cluster.undoable.pop(rule_id, None)
        return UndoProgress(effect, count, 0, True)


class Stores:
    """The part of RuleStore, SweepStore, StoreLoad and UndoCopyStore that the API asks."""

    session = ""
    lanes = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def max_staleness(self) -> float:
        self._cluster.reach()
        return 5.0

    async def rule(self, rule_id: str) -> Rule | None:
        self._cluster.reach()
        return self._cluster.rules.get(rule_id)

    async def ids_of(self, rules: Sequence[Rule]) -> list[str]:
        self._cluster.reach()
        twins = (self._cluster.twin(rule) for rule in rules)
        return [twin.id if twin is not None else "" for twin in twins]

    async def standing(self, set_id: str, rule_ids: Sequence[str]) -> list[Rule]:
        found = [await self.rule(rule_id) for rule_id in rule_ids]
        return [rule for rule in found if rule is not None and rule.set_id == set_id]

    async def stored_set(self, set_id: str) -> StoredSet | None:
        self._cluster.reach()
        return self._cluster.sets.get(set_id)

    async def removed(self, rule_id: str) -> RemovedRule | None:
        self._cluster.reach()
        return self._cluster.removed.get(rule_id)

    async def changes(self, since: Head) -> tuple[Change, ...]:
        return ()

    async def head(self) -> Head:
        self._cluster.reach()
        return Head(self._cluster.generation, "c")

    async def backlog(self, lane: int) -> int:
        return self._cluster.backlog

    async def key_bytes(self) -> int:
        return self._cluster.key_bytes

    async def load(self) -> tuple[Head, tuple[Rule, ...]]:
        self._cluster.reach()
        return Head(self._cluster.generation, "c"), tuple(self._cluster.rules.values())

    async def load_readable(self) -> tuple[Head, tuple[Rule, ...], dict[str, UnreadableRule]]:
        head, rules = await self.load()
        unreadable = self._cluster.unreadable
        return head, tuple(rule for rule in rules if rule.id not in unreadable), unreadable

    async def sessions(self) -> dict[str, SessionState]:
        self._cluster.reach()
        return self._cluster.states

    async def builds(self) -> dict[str, Build]:
        return self._cluster.builds

    async def pools(self) -> list[str]:
        self._cluster.reach()
        return self._cluster.stored_pools

    async def count(self, rule_id: str, now_ms: int) -> int:
        self._cluster.reach()
        return self._cluster.undoable.get(rule_id, 0)

    async def until(self, rule_id: str, now_ms: int) -> int:
        self._cluster.reach()
        return AT + 600_000 if self._cluster.undoable.get(rule_id) else 0

    async def sweeps(self) -> dict[str, SweepState]:
        self._cluster.reach()
        return self._cluster.sweep_states

    async def sweep(self, rule: str) -> SweepState | None:
        return (await self.sweeps()).get(rule)


class Books:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def total(self) -> dict[str, int]:
        self._cluster.reach()
        return self._cluster.totals

    async def tag(self, tag: str, tenant: str = "") -> dict[str, int]:
        self._cluster.reach()
        return self._cluster.tags.get(f"{tag}\0{tenant}" if tenant else tag, {})

    async def rule(self, rule_id: str) -> dict[str, int]:
        self._cluster.reach()
        return self._cluster.counts.get(rule_id, {})

    async def account(self, rule_id: str, tag: str | None, now_ms: int) -> RuleAccount:
        undoable = self._cluster.undoable.get(rule_id, 0)
        of_tag = None if tag is None else await self.tag(tag)
        return RuleAccount(await self.rule(rule_id), of_tag, undoable, AT + 600_000 if undoable else 0)

    async def depths(self) -> dict[str, PoolDepth]:
        self._cluster.reach()
        return self._cluster.depths

    async def together(self, rule_ids: Sequence[str], now_ms: int) -> RuleAccount:
        counts: dict[str, int] = {}
        for of_rule in await self.rules(rule_ids):
            for name, count in of_rule.items():
                counts[name] = counts.get(name, 0) + count
        return RuleAccount(counts, None, 0, 0)

    async def rules(self, rule_ids: Sequence[str]) -> list[dict[str, int]]:
        return [await self.rule(rule_id) for rule_id in rule_ids]

    async def earliest(self, pools: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(pools, AT)

    async def unseen(self, tags: Sequence[str]) -> list[str]:
        self._cluster.reach()
        return [tag for tag in tags if tag not in self._cluster.tags]

    async def tags_lately(self, tenant: str = "") -> set[str]:
        self._cluster.reach()
        suffix = f"\0{tenant}" if tenant else ""
        return {tag.removesuffix(suffix) for tag in self._cluster.tags if tag.endswith(suffix)}

    async def unmet(self, domains: Sequence[str]) -> list[str]:
        self._cluster.reach()
        there = {counts.queue.domain for counts in self._cluster.queue_counts}
        return [
            domain
            for domain in domains
            if not any(name.endswith(domain[1:]) if domain.startswith("*.") else name == domain for name in there)
        ]

    async def queues(
        self,
        pool: str | None = None,
        domain: str | None = None,
        after: QueueKey | None = None,
        most: int | None = None,
        tenant: str | None = None,
    ) -> list[QueueCounts]:
        self._cluster.reach()
        self._cluster.tenants.append(tenant)
        found = sorted(self._cluster.queue_counts, key=lambda counts: counts.queue)
        return [
            counts
            for counts in found
            if pool in (None, counts.queue.pool)
            and domain in (None, counts.queue.domain)
            and (after is None or counts.queue > after)
        ][:most]


class Canaries:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def last(self) -> CanaryFlight | None:
        self._cluster.reach()
        return self._cluster.canary


class Previews:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def ask(self, preview: Preview) -> bool:
        self._cluster.reach()
        counted = self._cluster.tally.matched if preview.counted is None else preview.counted
        self._cluster.previews[preview.id] = msgspec.structs.replace(
            preview, state=PreviewState.DONE, counted=counted, tally=self._cluster.tally, share=1.0, done_at=AT
        )
        return not self._cluster.crowded

    async def get(self, preview_id: str) -> Preview | None:
        self._cluster.reach()
        return self._cluster.previews.get(preview_id)


class Messages:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def show(self, message: MessageId, only: int = 0) -> list[DeliveryStatus]:
        self._cluster.reach()
        known = self._cluster.messages.get(message, [])
        return [one for one in known if only in (0, int.from_bytes(one.id[16:], "big"))]

    async def cancel(self, message: MessageId, actor: Actor, wait: float, only: int = 0) -> list[DeliveryStatus]:
        cluster = self._cluster
        cluster.reach()
        cluster.orders.append(actor)
        cluster.cancel_waits.append(wait)
        if message in cluster.after_cancel:
            cluster.messages[message] = cluster.after_cancel[message]
        return await self.show(message, only)


class StoredMail:
    """`cluster.mail` has what is kept; a resend takes the recipients that it names."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(self, message: MessageId) -> KeptMail | None:
        self._cluster.reach()
        return self._cluster.mail.get(message)

    async def resend(self, message: MessageId, number: int, client: str) -> Resent | None:
        made = self._cluster.resends.get((message, number))
        if isinstance(made, Exception):
            raise made
        return made


class QueueWork:
    """All that waits is what `cluster.waiting` holds; an order is done at its second call."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def waiting(self, selection: MailSelection, behind: PagePlace | None, most: int) -> WaitingPage:
        self._cluster.reach()
        self._cluster.selections.append(selection)
        found = [one for one in self._cluster.waiting if behind is None or one.id > behind.id]
        last = found[most - 1] if len(found) > most else None
        return WaitingPage(found[:most], last and PagePlace(last.queue, last.due_at, last.id))

    async def counts(
        self, selection: MailSelection, after: QueueKey | None, most: int
    ) -> tuple[list[QueueCounts], QueueKey | None]:
        self._cluster.reach()
        self._cluster.selections.append(selection)
        found = [one for one in self._cluster.queue_counts if after is None or one.queue > after]
        return found[:most], found[most - 1].queue if len(found) > most else None

    async def retry(self, selection: MailSelection, rest: WorkPlace, until: float) -> WorkDone:
        self._cluster.reach()
        self._cluster.selections.append(selection)
        return WorkDone(3, 5, 0, WorkPlace(1, False, "default|example.com", 17) if rest == WorkPlace() else None)

    async def move(self, selection: MailSelection, to_pool: str, rest: WorkPlace, until: float) -> WorkDone:
        return (await self.retry(selection, rest, until))._replace(kept=2)


class ParkedMail:
    """All that is parked is what `cluster.parked` holds."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def page(self, selection: ParkedSelection, behind: ParkedPlace | None, most: int) -> ParkedPage:
        self._cluster.reach()
        found = [one for one in self._cluster.parked if selection.has(one) and (behind is None or one.id > behind.id)]
        last = found[most - 1] if len(found) > most else None
        return ParkedPage(found[:most], last and ParkedPlace(last.since, last.id))

    async def release(self, selection: ParkedSelection, actor: Actor, rest: ParkedPlace, until: float) -> ParkedDone:
        return self._take(selection, actor, readable=True)

    async def remove(self, selection: ParkedSelection, actor: Actor, rest: ParkedPlace, until: float) -> ParkedDone:
        return self._take(selection, actor, readable=False)

    def _take(self, selection: ParkedSelection, actor: Actor, *, readable: bool) -> ParkedDone:
        self._cluster.reach()
        self._cluster.orders.append(actor)
        chosen = [one for one in self._cluster.parked if selection.has(one)]
        done = [one for one in chosen if one.record is not None or not readable]
        self._cluster.parked = [one for one in self._cluster.parked if one not in done]
        return ParkedDone(done, len(chosen) - len(done), None)


class TlsDays:
    """No connection was made."""

    async def add(self, day: int, counts: Mapping[TlsResult, int]) -> None:
        raise AssertionError("the API counts no connection")

    async def days(self, first: int, last: int) -> list[TlsDay]:
        return []


class Limits:
    """The uses that `cluster.limit_use` names."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def use(self, asked: Sequence[tuple[str, str]]) -> list[LimitUse]:
        self._cluster.reach()
        return [self._cluster.limit_use.get(one, LimitUse()) for one in asked]

    async def warm_ups(self, site: str, ips: Sequence[str]) -> dict[str, WarmUp]:
        known = {ip: self._cluster.warm_ups.get((site, ip)) for ip in ips}
        return {ip: state for ip, state in known.items() if state is not None}


class Sites:
    """Each domain is a site of its own name, except where `cluster.sites` says otherwise."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def find(self, domains: Iterable[str]) -> dict[str, str]:
        return {domain: self._cluster.sites.get(domain, domain) for domain in domains}


class Tail:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def watch(self) -> None:
        self._cluster.reach()
        self._cluster.watched += 1

    async def newest(self) -> str:
        return "0-0.0"

    async def lacks(self, tail_id: str) -> bool:
        self._cluster.reach()
        return self._cluster.unwatched

    async def follow(self, after: str, most: int, seconds: float) -> list[tuple[str, bytes]]:
        self._cluster.reach()
        ids = [tail_id for tail_id, _ in self._cluster.lines]
        found = self._cluster.lines[ids.index(after) + 1 :] if after in ids else self._cluster.lines
        if not found:
            await asyncio.sleep(min(seconds, 0.02))
        return found[:most]


class Tokens:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def version(self) -> bytes:
        self._cluster.reach()
        self._cluster.token_reads += 1
        return b"%d" % self._cluster.token_changes

    async def load(self) -> TokenTable:
        self._cluster.reach()
        admin = hashlib.sha256(b"another").digest(), hashlib.sha256(TOKEN.encode()).digest()
        return TokenTable(b"%d" % self._cluster.token_changes, admin, dict(self._cluster.tokens))

    async def put(self, token: ApiToken, digest: bytes) -> None:
        self._cluster.reach()
        self._cluster.token_changes += 1
        self._cluster.tokens[token.id] = StoredToken(token, digest)

    async def remove(self, token_id: str) -> None:
        self._cluster.reach()
        self._cluster.token_changes += 1
        self._cluster.tokens.pop(token_id, None)


class Audit:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def note(self, actor: Actor, deed: Deed) -> None:
        self._cluster.reach()
        self._cluster.deeds.append((actor, deed))

    async def keep_account(self, event: RuleEvent) -> None:
        self._cluster.reach()
        self._cluster.accounts.append(event)

    async def read(self, below: str, most: int) -> list[NotedEvent]:
        self._cluster.reach()
        count = max(0, int(below.partition("-")[0]) - 1) if below else len(self._cluster.deeds)
        noted = [
            NotedEvent(f"{number}-0", f"rules.1.{number}-0.0", deed_event(actor, deed, AT))
            for number, (actor, deed) in enumerate(self._cluster.deeds[:count], 1)
        ]
        return noted[::-1][:most]


class Releases:
    """No pause has a staged release."""

    async def get(self, pause: str) -> None:
        return None


class Answers:
    """Fulfils ports.kept_answers.KeptAnswers."""

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[bytes, str, bytes]] = {}  # name -> content, owner, answer

    async def claim(self, key: IdempotencyKey, owner: str) -> bytes | None:
        content, whose, answer = self.kept.setdefault(key.name, (key.content, owner, b""))
        if content != key.content:
            raise KeyRefusal(KeyTrouble.OTHER_CONTENT)
        if whose and whose != owner:
            raise KeyRefusal(KeyTrouble.UNDER_WAY)
        return answer or None

    async def keep(self, key: IdempotencyKey, owner: str, answer: bytes) -> None:
        assert self.kept[key.name] == (key.content, owner, b"")
        self.kept[key.name] = (key.content, "", answer)

    async def leave(self, key: IdempotencyKey, owner: str) -> None:
        assert self.kept.pop(key.name) == (key.content, owner, b"")


class Fate:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def emptied_at(self) -> int:
        self._cluster.reach()
        return self._cluster.emptied_at

    async def acknowledge(self) -> int:
        at, self._cluster.emptied_at = await self.emptied_at(), 0
        return at


class Journals:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def journals(self) -> list[JournalState]:
        self._cluster.reach()
        return self._cluster.journals


class Quotas:
    """Nothing is used yet."""

    async def take(self, tenant: str, quota: Quota, hour: int, needed: int, more: int) -> QuotaTaken:
        raise AssertionError("the API takes no mail")

    async def give_back(self, tenant: str, hour: int, count: int) -> None:
        raise AssertionError("the API takes no mail")

    async def used(self, tenant: str, hour: int) -> QuotaUse:
        return QuotaUse(hour, 4, 40)


def dependencies(cluster: Cluster) -> Dependencies:
    async def health() -> str:
        cluster.reach()
        return ""

    stores, books = Stores(cluster), Books(cluster)
    return Dependencies(
        orders=Orders(cluster),
        set_orders=SetOrders(cluster),
        sets=stores,  # type: ignore[arg-type]
        catalogue=Catalogue(stores, "n1", ()),  # type: ignore[arg-type]
        undo=Undo(cluster),
        rules=stores,  # type: ignore[arg-type]  # what the API does not ask is not there
        load=stores,  # type: ignore[arg-type]
        sweeps=stores,  # type: ignore[arg-type]
        canaries=Canaries(cluster),  # type: ignore[arg-type]
        previews=Previews(cluster),  # type: ignore[arg-type]
        undo_copies=stores,  # type: ignore[arg-type]
        books=books,  # type: ignore[arg-type]
        depths=MeasuredDepths(books.depths),
        nearest_tags=NearestTags(books.tags_lately),
        messages=Messages(cluster),
        queue_work=QueueWork(cluster),
        parked=ParkedMail(cluster),
        limits=Limits(cluster),
        limit_orders=LimitOrders(),
        tls_results=TlsDays(),
        sites=Sites(cluster),
        releases=Releases(),  # type: ignore[arg-type]  # what the API does not ask is not there
        shaping=Shaping(cluster.settings),
        tail=Tail(cluster),
        journals=Journals(cluster),
        tokens=Tokens(cluster),
        audit=Audit(cluster),
        answers=cluster.answers,
        fate=Fate(cluster),
        stored_mail=StoredMail(cluster),
        dkim=key_book(),
        domains=domain_check(),
        replies=Replies(),
        brakes=cluster.brakes,
        history=cluster.history,
        history_orders=cluster.history_orders,
        webhooks=endpoint_book(cluster.endpoints, cluster.posts),
        log_lines=log_lines,
        node="n1",
        api=ApiSettings(wait=0.5),
        health=health,
        workers=1,
        pools=cluster.pools,
        templates=cluster.templates,
        engagement=cluster.engagement,
        quotas=Quotas(),
        suppressions=cluster.suppressions,
        own_pools={"default": PoolSettings(ips=("192.0.2.1",))},
    )


def app_for(cluster: Cluster, **changes: object) -> web.Application:
    return create_app(dataclasses.replace(dependencies(cluster), **changes))  # type: ignore[arg-type]


def counts_of(pool: str, domain: str, due: int = 1) -> QueueCounts:
    return QueueCounts(QueueKey(pool, domain), due, 2, 3, next_due=AT, oldest=AT)


def waiting_delivery(number: int, **fields: Any) -> WaitingDelivery:
    """One that waits for its next attempt, to m<number>@example.com; `fields` are those of its record."""
    given: dict[str, Any] = {"sender": "from@x.test", "tags": ("red",), "size": 3, "accepted_at": AT, "expires_at": AT}
    record = Record(recipient=f"m{number}@example.com", **(given | fields))
    id_ = DeliveryId(b"%016d" % number + b"\0\1")
    return WaitingDelivery(id_, QueueKey("default", "example.com"), AT + number, record, 0)


def parked_delivery(number: int, **fields: Any) -> ParkedDelivery:
    """One that was put aside; `fields` are its own."""
    waiting = waiting_delivery(number)
    given = {"record": waiting.record, "raw": b"" if fields.get("record", 1) is None else b"raw"} | fields
    return ParkedDelivery(waiting.id, waiting.queue, "", AT, **given)
