"""The reaction watch of a worker: it counts the replies that reactions are about, and gives their orders."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from mta.model.actor import Actor, ActorKind
from mta.model.audit import Deed
from mta.model.errors import BadValue, StoreError, severity
from mta.model.limit_orders import LimitOrder
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import Origin, Outcome, Reply
from mta.model.paths import pool_of
from mta.model.phases import Phase
from mta.model.pools import PoolSettings
from mta.model.reactions import PauseWish, author_of
from mta.policy.failures import is_of_the_mail
from mta.policy.limit_orders import ip_of_order
from mta.policy.reactions import Reaction, ReactionBook, limit_order, reason, reply_text
from mta.ports.audit import Audit
from mta.ports.delivery import Sites
from mta.ports.limits import LimitOrderStore
from mta.ports.reactions import Counted, ReactionStore
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_GATHER: Final = 0.1  # seconds in which replies are told together
_AWAY: Final = 1.0  # seconds before the store is asked again
_MOST_WAITING: Final = 5000  # counts that wait to be told; further ones are left out

_OF_THE_MAIL: Final = tuple(phase.value for phase in Phase if is_of_the_mail(phase))


class _Waiting(msgspec.Struct):
    """Replies that are not told yet."""

    reaction: Reaction
    replies: list[str]


class ReactionWatch:
    """Each reply counts once, however many deliveries it is about."""

    def __init__(
        self,
        book: ReactionBook,
        sites: Sites,
        pools: Mapping[str, PoolSettings],
        node: str,
        store: ReactionStore,
        limits: LimitOrderStore,
        audit: Audit,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self._book = book
        self._sites = sites
        self._pools: Mapping[str, PoolSettings] = pools
        self._node = node
        self._store = store
        self._limits = limits
        self._audit = audit
        self._clock = clock
        self._waiting: dict[Counted, _Waiting] = {}
        self._last: dict[Counted, tuple[Reply, bytes]] = {}
        self._alarm = Alarm()

    def take_pools(self, pools: Mapping[str, PoolSettings]) -> None:
        """These are in force from now on."""
        self._pools = pools

    def failed(self, claimed: Claimed, outcome: Outcome) -> None:
        """A delivery got a reply that is no success, or none."""
        if outcome.origin is Origin.REMOTE:
            record = claimed.record
            # A parser may give the same object for each of many like replies, but not to one message.
            message = claimed.id[:-2] if outcome.reason.startswith(_OF_THE_MAIL) else b""
            self._count(claimed.queue, outcome.reply, message, outcome.mx, outcome.mta, record.tenant, record.tags)

    def refused(self, queue: QueueKey, reply: Reply, host: str, ip: str) -> None:
        """A host refused one more connection, which no delivery waited for."""
        self._count(queue, reply, b"", host, ip, "", ())

    def _count(
        self, queue: QueueKey, reply: Reply, message: bytes, host: str, ip: str, tenant: str, tags: Iterable[str]
    ) -> None:
        """`message`: the one that the reply is about, b"" = all mail for the host."""
        domain = queue.domain
        site = self._sites.of_target(domain, host) if host else self._sites.of(domain) or domain
        for reaction in self._book.find(site, reply):
            for scope in self._scopes(reaction.scope, queue, ip, tenant, tags):
                self._add(Counted(reaction.name, site, scope), reaction, reply, message)

    def _scopes(self, scope: str, queue: QueueKey, ip: str, tenant: str, tags: Iterable[str]) -> Iterable[str]:
        pool = pool_of(queue.pool)
        if scope == "ip":
            return (f"ip:{ip_of_order(self._pools, pool, ip, self._node)}",)
        if scope == "pool":
            return (f"pool:{pool}",)
        if scope == "tenant":
            return (f"tenant:{tenant}",) if tenant else ()
        return [f"tag:{tag}" for tag in tags]

    def _add(self, counted: Counted, reaction: Reaction, reply: Reply, message: bytes) -> None:
        last = self._last.get(counted)
        if last is not None and last[0] is reply and last[1] == message:
            return  # the same reply to another delivery of the transaction or of the queue
        waiting = self._waiting.get(counted)
        if waiting is None:
            if len(self._waiting) >= _MOST_WAITING:
                return
            waiting = self._waiting[counted] = _Waiting(reaction, [])
        if len(self._last) >= _MOST_WAITING:
            self._last.clear()
        self._last[counted] = reply, message
        if len(waiting.replies) < reaction.needed:
            waiting.replies.append(reply_text(reply))
        self._alarm.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._alarm.sleep(60.0)
            await asyncio.sleep(_GATHER)
            try:
                await self.tell()
            except StoreError as error:
                log.log(severity(error), "replies are counted later: %s", error)
                await asyncio.sleep(_AWAY)
                self._alarm.ring()
            except BadValue as error:
                log.error("a reaction gives no order: %s", error)

    async def tell(self) -> None:
        """Count what has come, and act where it is enough. Raises StoreError; then it is counted later."""
        for counted, waiting in list(self._waiting.items()):
            taken, reaction = list(waiting.replies), waiting.reaction
            found = await self._store.seen(counted, taken, reaction.needed, reaction.window_ms)
            del waiting.replies[: len(taken)]
            if not waiting.replies:
                del self._waiting[counted]
            if found:
                await self._act(reaction, counted, found)

    async def _act(self, reaction: Reaction, counted: Counted, replies: Sequence[str]) -> None:
        kind, _, rest = counted.scope.partition(":")
        if kind in ("ip", "pool"):
            await self._limit(reaction, counted, kind, rest, replies)
        else:
            until = self._clock() + reaction.for_ms
            wish = PauseWish(
                reaction=reaction.name, site=counted.site, until=until, reason=reason(reaction, replies), **{kind: rest}
            )
            await self._store.wish(wish)
        await self._store.acted(counted)

    async def _limit(self, reaction: Reaction, counted: Counted, kind: str, name: str, replies: Sequence[str]) -> None:
        pool, ip = (name, "") if kind == "pool" else ("", name)
        now = self._clock()

        def edit(was: LimitOrder | None) -> LimitOrder | None:
            return limit_order(reaction, counted.site, pool, ip, now, replies, was)

        shared = await self._limits.orders()
        first = edit(None)
        assert first is not None
        order = edit(None if shared is None else shared.orders.get(first.id))
        if order is None:
            return
        actor = Actor(ActorKind.SYSTEM, author_of(reaction.name))
        deed = Deed("limits.put", order.id, after=msgspec.to_builtins(order), reason=order.reason)
        await self._audit.note(actor, deed)
        if await self._limits.edit(order.id, edit) is not None:
            log.warning(
                "reaction %s limits mail to %s (%s): %s", reaction.name, counted.site, counted.scope, order.reason
            )
