"""Undo: intercepted deliveries return to their queues, each once, after the rule was disabled."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from mta.model.actor import Actor
from mta.model.errors import OrderMade, StoreError, severity
from mta.model.events import EventType, delivery_event
from mta.model.mail import Record
from mta.model.outcomes import NO_ATTEMPT
from mta.model.rules import Head, Rule
from mta.orders.order import GRACE
from mta.policy.sending_window import opens_at
from mta.ports.orders import Effect, Orders
from mta.ports.rule_store import RuleStore
from mta.ports.undo import Reinstatement, UndoCopy, UndoCopyStore, UndoProgress
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

_BATCH: Final = 100
_PAUSE: Final = 0.004  # seconds after each batch, so that other mail keeps its pace
_POLL: Final = 0.03
_RETRY: Final = 0.5
_CHANGES: Final = 2  # of a delivery since its record was copied: it was intercepted, and it comes back

_encode = msgspec.msgpack.Encoder().encode


class _Run:
    """One undo under way."""

    def __init__(self) -> None:
        self.reinstated = 0
        self.unanswered: tuple[int, list[UndoCopy]] | None = None  # lane and batch whose answer was lost
        self.task: asyncio.Task[None] | None = None


class UndoRuns:
    """Fulfils ports.undo.Undo in the API process. Copies that it has not reinstated when that process dies wait for the
    next request, or are dropped."""

    def __init__(
        self,
        orders: Orders,
        rules: RuleStore,
        store: UndoCopyStore,
        node: str,
        undo_ms: int,
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`node` is named in the events; `undo_ms` is rules.undo_window."""
        self._orders = orders
        self._rules = rules
        self._store = store
        self._node = node
        self._undo_ms = undo_ms
        self._now = now
        self._wall = wall
        self._runs: dict[str, _Run] = {}  # by rule

    async def undo(self, rule_id: str, rule: Rule | None, actor: Actor, wait: float) -> UndoProgress | None:
        until = self._now() + wait
        if rule is None and not await self._store.count(rule_id, self._wall()):
            return None
        effect = await self._disable(rule, actor) if rule is not None else None
        run = self._runs.get(rule_id)
        if run is None:
            run = self._runs[rule_id] = _Run()
            disabled = effect.rule if effect is not None else None
            run.task = asyncio.create_task(self._run(rule_id, disabled, run), name=f"undo of {rule_id}")
        assert run.task is not None
        await asyncio.wait({run.task}, timeout=max(0.0, until - self._now()))
        try:
            if effect is not None:
                effect = await self._orders.effect(effect.rule)
            left = await self._store.count(rule_id, self._wall())
        except StoreError as error:
            raise OrderMade(rule_id, error) from error
        return UndoProgress(effect, run.reinstated, left, run.task.done())

    async def stop(self) -> None:
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _disable(self, rule: Rule, actor: Actor) -> Effect | None:
        """Or the rule would end the mail again. None: it was removed meanwhile."""
        if rule.enabled:
            return await self._orders.edit(rule.id, _disabled, actor, 0.0, "effective")
        return await self._orders.effect(rule)

    async def _run(self, rule_id: str, rule: Rule | None, run: _Run) -> None:
        try:
            while not await self._try(rule_id, rule, run):  # noqa: ASYNC110 - nothing tells when the store is back
                await asyncio.sleep(_RETRY)
        finally:
            del self._runs[rule_id]

    async def _try(self, rule_id: str, rule: Rule | None, run: _Run) -> bool:
        """Whether the undo came to its end."""
        try:
            await self._count_unanswered(rule_id, run)
            await self._until_idle(rule)
            # No more than there is now: a rule that is enabled again meanwhile ends the same mail again.
            left = await self._store.count(rule_id, self._wall())
            for lane in range(self._store.lanes):
                left -= await self._empty(lane, rule_id, run, left)
            return True
        except StoreError as error:
            log.log(
                severity(error), "the undo of rule %s waits after %d deliveries: %s", rule_id, run.reinstated, error
            )
            return False

    async def _count_unanswered(self, rule_id: str, run: _Run) -> None:
        """A delivery without a copy whose time was not over has returned to its queue."""
        if run.unanswered is None:
            return
        lane, batch = run.unanswered
        kept = await self._store.kept(lane, rule_id, batch)
        now = self._wall()
        run.reinstated += sum(one.until > now and one.id not in kept for one in batch)
        run.unanswered = None

    async def _until_idle(self, rule: Rule | None) -> None:
        """Wait until no process decides by the rule as it was."""
        if rule is not None:
            while not (await self._orders.effect(rule)).effective:  # noqa: ASYNC110 - the store tells, not an event
                await asyncio.sleep(_POLL)
            return
        head = await self._rules.head()
        limit = self._now() + await self._rules.max_staleness() + GRACE
        while self._now() < limit and await self._is_behind(head):  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        await self._rules.raise_barrier(head.generation)

    async def _is_behind(self, head: Head) -> bool:
        sessions = (await self._rules.sessions()).values()
        return any(not state.dead and state.head.generation < head.generation for state in sessions)

    async def _empty(self, lane: int, rule_id: str, run: _Run, most: int) -> int:
        """Reinstate at most `most` deliveries of the lane; how many copies were seen."""
        count = 0
        while count < most and (page := await self._store.copies(lane, rule_id, min(_BATCH, most - count))):
            run.unanswered = lane, page
            run.reinstated += await self._store.reinstate(lane, rule_id, [self._reinstatement(one) for one in page])
            run.unanswered = None
            count += len(page)
            await asyncio.sleep(_PAUSE)
        return count

    def _reinstatement(self, copy: UndoCopy) -> Reinstatement:
        """The time since its end does not count towards the delivery's age: it is tried for as long as it had left."""
        now, record = self._wall(), copy.record
        kept = now - (record.held_at or copy.until - self._undo_ms)
        live: Record = msgspec.structs.replace(
            record,
            uncertain=record.uncertain or copy.uncertain,
            deferred_by="",
            held_at=0,
            expires_at=record.expires_at + max(0, kept),
            seq=record.seq + _CHANGES,
        )
        due_at = max(now, record.scheduled_at)
        if record.window is not None:
            due_at = opens_at(record.window, due_at)
        event = delivery_event(
            EventType.REINSTATED,
            now,
            self._node,
            copy.id,
            copy.queue,
            record,
            NO_ATTEMPT,
            record.attempts,
            next_attempt=due_at,
            changes=_CHANGES,
        )
        return Reinstatement(copy, live, due_at, _encode(event))


def _disabled(rule: Rule) -> Rule:
    disabled: Rule = msgspec.structs.replace(rule, enabled=False)
    return disabled
