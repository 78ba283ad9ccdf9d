"""The order book: every change of the rule table that the API made, followed until it is effective everywhere."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from mta.model.actor import FAILOVER, Actor
from mta.model.errors import OrderMade, StoreError, severity
from mta.model.rules import Effective, Head, Kind, Rule, Selectors
from mta.orders.effects import Effects
from mta.orders.latency import Latency
from mta.orders.order import GRACE, Key, Order, WaitSet
from mta.policy.sweep_end import is_over
from mta.ports.orders import Effect, OrderFigures
from mta.ports.rule_store import Edit, Put, RemovedRule, RuleStore
from mta.ports.sweeps import SweepStore
from mta.timing.alarm import Alarm
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

_POLL: Final = (0.003, 0.025)  # seconds between looks at the sessions: for a new order, at most
_QUIET_POLL: Final = 0.025
_RETRY: Final = 0.1
_PATIENCE: Final = 1.0  # seconds, at least, for a store that does not answer after an order was made
_TURNS: Final = 16  # orders that ask the store at the same time: hundreds may become effective in the same moment


def _generation(order: Order) -> int:
    return order.head.generation


class OrderBook:
    """Fulfils ports.orders.Orders in the API process."""

    def __init__(
        self,
        store: RuleStore,
        sweeps: SweepStore,
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self._store = store
        self._sweeps = sweeps
        self.now = self._now = now
        self._wall = wall
        self._limit = 0.0  # S + GRACE, seconds
        self._orders: dict[Key, Order] = {}
        self._watch_task: asyncio.Task[None] | None = None
        self._alarm = Alarm()  # a new order: look at the sessions at once
        self._turns = asyncio.Semaphore(_TURNS)
        self._raising = asyncio.Lock()
        self._raised = self._raised_at = 0  # the barrier: to which generation, and when
        self._latency = Latency()
        self._effects = Effects(store, wall)

    async def start(self) -> None:
        """Follow the changes that an earlier process has not seen to be effective."""
        _, rules, _ = await self._store.load_readable()
        latest: dict[str, Rule] = {}  # by order
        for rule in rules:
            if (known := latest.get(rule.order_id)) is None or known.generation < rule.generation:
                latest[rule.order_id] = rule
        effects = await self._store.effects(list(latest))
        for order_id, rule in latest.items():
            effect = effects.get(order_id)
            if effect is None or effect.generation < rule.generation:
                await self._resume(rule)

    async def stop(self) -> None:
        tasks = [task for task in (self._watch_task, *(order.task for order in self._orders.values())) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def put(self, rule: Rule, actor: Actor, wait: float, until: str) -> Effect:
        limit = await self.limit()
        asked_at = self._now()
        made = msgspec.structs.replace(rule, created_by=actor.author)
        put, wait_set = await self._store.put(made, secrets.token_hex(8), actor)
        return await self.wait(self._placed(put, wait_set, limit, asked_at), asked_at + wait, until)

    async def edit(self, rule_id: str, edit: Edit, actor: Actor, wait: float, until: str) -> Effect | None:
        limit = await self.limit()
        asked_at = self._now()
        answer = await self._store.edit(rule_id, edit, secrets.token_hex(8), actor)
        if answer is None:
            return None
        return await self.wait(self._placed(*answer, limit, asked_at), asked_at + wait, until)

    def _placed(self, put: Put, wait_set: Iterable[str], limit: float, asked_at: float) -> Order:
        order = Order(
            put.rule,
            self.wait_set(put.head, wait_set, limit),
            asked_at=asked_at,
            before=put.before,
            created=put.created,
        )
        return self.follow(order)

    def wait_set(self, head: Head, sessions: Iterable[str], limit: float) -> WaitSet:
        return WaitSet(head, sessions, self._now(), self._wall(), limit)

    async def remove(self, rule_id: str, actor: Actor, wait: float, kind: Kind | None = None) -> Effect | None:
        limit = await self.limit()
        asked_at = self._now()
        answer = await self._store.remove(rule_id, secrets.token_hex(8), actor, kind)
        if answer is None:
            return None
        removed, wait_set = answer
        waits_for = self.wait_set(removed.head, wait_set, limit)
        order = Order(removed.rule, waits_for, asked_at=asked_at, removed=True)
        return await self.wait(self.follow(order), asked_at + wait, "effective")

    def figures(self) -> OrderFigures:
        return self._latency.figures(len(self._orders))

    async def effect(self, rule: Rule) -> Effect:
        order = self._orders.get((rule.order_id, rule.generation)) or self._of_set(rule)
        if order is None:
            known = (await self._store.effects([rule.order_id])).get(rule.order_id)
            if known is not None and known.generation >= rule.generation:
                return await self._effects.known(rule, False, known)  # a later change is, so this one is as well
            order = await self._resume(rule)
        return (await self._state(order))._replace(rule=rule)

    def _of_set(self, rule: Rule) -> Order | None:
        """The order for the set of the rule, whose last part may be of a later generation."""
        found = (order for order in self._orders.values() if order.rule.id == rule.set_id) if rule.set_id else ()
        return max(
            (order for order in found if order.head.generation >= rule.generation), default=None, key=_generation
        )

    async def known(self, rule: Rule, effective: Effective) -> Effect:
        """The effect of a change that is effective."""
        return await self._effects.known(rule, False, effective)

    async def effect_of_removed(self, removed: RemovedRule) -> Effect:
        rule, known = removed.rule, removed.effective
        if known is not None and known.generation >= rule.generation:
            return await self._effects.known(rule, False, known)
        return Effect(rule, False, False, 0, removed.at, (), 0, (), ())

    async def _resume(self, rule: Rule) -> Order:
        """The wait set of the change is not known: wait for every delivering session below its generation, from now
        on."""
        limit = await self.limit()
        wait_set = await self._below(rule.generation)
        if rule.set_id:
            rule = msgspec.structs.replace(rule, id=rule.set_id, selectors=Selectors())  # stands for the set
        return self.follow(Order(rule, self.wait_set(Head(rule.generation, ""), wait_set, limit)))

    async def _below(self, generation: int) -> list[str]:
        sessions = await self._store.sessions()
        living = (state for state in sessions.values() if state.delivers and not state.dead)
        return [state.id for state in living if state.head.generation < generation]

    async def limit(self) -> float:
        """Seconds after which no session acts by a table from before an order."""
        if not self._limit:
            self._limit = await self._store.max_staleness() + GRACE
        return self._limit

    def follow(self, order: Order) -> Order:
        """Follow the order until it is effective. The order that is followed: another for the same change, where there
        is one."""
        known = self._orders.get(order.key)
        if known is not None:
            known.created = known.created or order.created
            if known.asked_at is None:
                known.asked_at = order.asked_at
            return known
        self._orders[order.key] = order
        order.task = asyncio.create_task(self._finish(order), name=f"order {order.head.generation}")
        self._watch_on()
        return order

    def _watch_on(self) -> None:
        self._alarm.ring()
        if self._watch_task is None or self._watch_task.done():
            self._watch_task = asyncio.create_task(self._watch(), name="order book")

    async def _watch(self) -> None:
        """One look at the sessions serves all orders that wait."""
        pause = _POLL[0]
        while waiting := [order for order in self._orders.values() if not order.wait_set.emptied_at]:
            try:
                sessions = await self._store.sessions()
            except StoreError:
                sessions = None  # workers cannot confirm either: only the time decides
            for order in waiting:
                if sessions is None:
                    order.wait_set.look_at_clock(self._now(), self._wall())
                else:
                    order.wait_set.look(sessions, self._now(), self._wall())
            rung = await self._alarm.sleep(pause)
            pause = _POLL[0] if rung else min(pause * 1.5, _POLL[1])

    async def _finish(self, order: Order) -> Effective:
        """From the empty wait set to a stored effect; repeated until the store has taken it."""
        while True:
            await order.wait_set.near.wait()
            try:
                effect = await self._settle(order)
                if effect is not None:
                    break
                await self._give_again(order)
            except StoreError as error:
                log.log(severity(error), "the effect of rule %s is not stored yet: %s", order.rule.id, error)
                await asyncio.sleep(_RETRY)
        if order.asked_at is not None:
            self._latency.observe(self._now() - order.asked_at, bool(effect.unconfirmed))
        if self._orders.get(order.key) is order:
            del self._orders[order.key]
        return effect

    async def _settle(self, order: Order) -> Effective | None:
        """None: a failover lost the change, and the confirmations were about other changes. Raises StoreError, among
        others where the barrier of a lane cannot be raised: the order is not effective until all are."""
        if not order.barrier_at:
            await self._raise_barrier(order)
        await order.wait_set.emptied.wait()
        async with self._turns:
            if order.effect is None:
                if not await self._is_kept(order.head):
                    return None
                order.effect = await self._found(order)
            await self._store.save_effect(order.effect, order.rule, order.removed)
            return order.effect

    async def _found(self, order: Order) -> Effective:
        order_id = order.key[0]
        past_dot = () if order.removed else tuple(entry.id for entry in await self._store.past_dot(order_id))
        return Effective(
            rule=order_id,
            generation=order.head.generation,
            effective_at=max(order.wait_set.emptied_at, order.barrier_at),
            past_dot=past_dot,
            confirmed=tuple(sorted(order.wait_set.confirmed)),
            unconfirmed=tuple(sorted(order.wait_set.waiting)),
        )

    async def _raise_barrier(self, order: Order) -> None:
        """Once for all orders that need it now."""
        async with self._raising:
            if self._raised < order.head.generation:
                ready = [known.head.generation for known in self._orders.values() if known.wait_set.near.is_set()]
                most = max([order.head.generation, *ready])
                await self._store.raise_barrier(most)
                self._raised, self._raised_at = most, self._wall()
            order.barrier_at = self._raised_at

    async def _is_kept(self, head: Head) -> bool:
        """Whether the store knows the change; of one that an earlier process made only its generation is known."""
        if not head.change:
            return True
        return await self._store.knows(head)

    async def _give_again(self, order: Order) -> None:
        """A failover lost the change: order it again, unless the rule was ordered otherwise since, and wait until the
        rule that is then in the store is effective. Guards put again the rules that they knew; a change that no guard
        had confirmed is known here only."""
        log.error("the change of rule %s at %s was lost in a failover; it is given again", order.rule.id, order.head)
        there = await (self._ordered_again(order) if order.again is None else order.again())
        if self._orders.get(order.key) is order:
            del self._orders[order.key]
        if order.removed or there is None:
            stands, head = None, await self._store.head()
        else:
            stands, head = there, Head(there.generation, "")
        sessions, limit = await self._below(head.generation), await self.limit()
        order.wait_again(stands, self.wait_set(head._replace(change=""), sessions, limit))
        self._orders.setdefault(order.key, order)
        self._watch_on()

    async def _ordered_again(self, order: Order) -> Rule | None:
        """The rule as it stands in the store afterwards."""
        rule = order.rule
        there = await self._store.rule(rule.id)
        at = 0 if there is None else await self.ordered_at(there)
        if order.removed and there is not None and at == rule.generation:
            await self._store.remove(rule.id, secrets.token_hex(8), FAILOVER)
        elif not order.removed and at == order.before:
            await self._store.regain(order.head, [rule], {} if there is None else {rule.id: there}, last=False)
            there = await self._store.rule(rule.id)
        return there

    async def ordered_at(self, rule: Rule) -> int:
        """The generation of the order that made the rule, also where the rule was put again since."""
        steps = (await self._store.trail(rule.generation)).steps
        return next(
            (step.was for step in steps if step.was and step.head.generation == rule.generation), rule.generation
        )

    async def wait(self, order: Order, until_time: float, until: str) -> Effect:
        """At most until `until_time`; the order is followed beyond it. Raises OrderMade."""
        assert order.task is not None
        await asyncio.wait({order.task}, timeout=max(0.0, until_time - self._now()))
        give_up = max(until_time, self._now() + _PATIENCE)
        while True:
            try:
                return await self._looked_at(order, until_time, until)
            except StoreError as error:
                if self._now() >= give_up:
                    raise OrderMade(order.rule.id, error) from error
            await asyncio.sleep(_RETRY)

    async def _looked_at(self, order: Order, until_time: float, until: str) -> Effect:
        state = await self._state(order)
        while until != "effective" and state.effective and self._now() < until_time:
            if state.quiet_at and (until == "quiet" or await self._is_swept(order.rule)):
                break
            await asyncio.sleep(_QUIET_POLL)
            state = await self._state(order)
        return state

    async def _is_swept(self, rule: Rule) -> bool:
        return is_over(rule, await self._sweeps.sweep(rule.order_id), self._wall())

    async def _state(self, order: Order) -> Effect:
        if order.effect is not None:
            return await self._effects.known(order.rule, order.created, order.effect, order.wait_set.effective_by)
        waiting, confirmed = tuple(sorted(order.wait_set.waiting)), tuple(sorted(order.wait_set.confirmed))
        return Effect(order.rule, order.created, False, 0, order.wait_set.effective_by, (), 0, confirmed, waiting)
