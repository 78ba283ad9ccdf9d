"""Undo: what a forced error intercepted goes back to its queues, each delivery once, after the rule was disabled."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from mta.model.errors import StoreError
from mta.model.events import Event, EventType
from mta.model.mail import Record
from mta.model.outcomes import Origin
from mta.model.rules import Rule
from mta.ports.rules import Effect, Orders
from mta.ports.spares import Back, Spared, SpareStore
from mta.rules.clock import wall_ms

log = logging.getLogger(__name__)

_BATCH: Final = 100

_encode = msgspec.msgpack.Encoder().encode


class Undone(NamedTuple):
    """How far an undo is: `effect` None: the rule itself was removed before."""

    effect: Effect | None
    reinstated: int  # by this undo, so far
    left: int
    done: bool


class _Run:
    """One undo under way."""

    def __init__(self, effect: Effect | None) -> None:
        self.effect = effect
        self.reinstated = 0
        self.task: asyncio.Task[None] | None = None


class Undo:
    """Runs in the API process; what it leaves when that process dies waits for the next request, or is let go."""

    def __init__(
        self, orders: Orders, store: SpareStore, node: str, undo_ms: int, wall: Callable[[], int] = wall_ms
    ) -> None:
        """`node` is named in the events; `undo_ms` is rules.undo_window."""
        self._undo_ms = undo_ms
        self._orders = orders
        self._store = store
        self._node = node
        self._wall = wall
        self._runs: dict[str, _Run] = {}  # by rule

    async def undo(self, rule_id: str, by: str, wait: float) -> Undone | None:
        """Disable the rule, then put back what it spared; waits at most `wait` seconds for all of that, and goes on
        beyond it. None: neither the rule nor anything spared by it is known."""
        until = asyncio.get_running_loop().time() + wait
        run = self._runs.get(rule_id)
        if run is None:
            effect = await self._orders.edit(rule_id, _disabled, by, 0.0, "effective")
            if effect is None and not await self._store.count(rule_id, self._wall()):
                return None
            run = self._runs[rule_id] = _Run(effect)
            run.task = asyncio.create_task(self._run(rule_id, run), name=f"undo of {rule_id}")
        assert run.task is not None
        await asyncio.wait({run.task}, timeout=max(0.0, until - asyncio.get_running_loop().time()))
        done = run.task.done()
        return Undone(run.effect, run.reinstated, await self._store.count(rule_id, self._wall()), done)

    async def stop(self) -> None:
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, rule_id: str, run: _Run) -> None:
        try:
            while run.effect is not None and not run.effect.effective:
                await asyncio.sleep(0.02)
                run.effect = await self._orders.effect(run.effect.rule)
            for lane in range(self._store.lanes):
                while page := await self._store.spared(lane, rule_id, _BATCH):
                    run.reinstated += await self._store.reinstate(lane, rule_id, [self._back(one) for one in page])
        except StoreError as error:
            log.warning("the undo of rule %s stopped after %d deliveries: %s", rule_id, run.reinstated, error)
        finally:
            del self._runs[rule_id]

    def _back(self, spared: Spared) -> Back:
        """The time that it was ended does not count towards its age: it is tried for as long as it had left."""
        now, record = self._wall(), spared.record
        kept = now - (record.held_at or spared.until - self._undo_ms)
        live: Record = msgspec.structs.replace(
            record,
            uncertain=record.uncertain or spared.uncertain,
            deferred_by="",
            held_at=0,
            expires_at=record.expires_at + max(0, kept),
        )
        due_at = max(now, record.scheduled_at)
        return Back(spared, live, due_at, _encode(self._event(spared, now, due_at)))

    def _event(self, spared: Spared, now: int, due_at: int) -> Event:
        record = spared.record
        return Event(
            type=EventType.REINSTATED,
            time=now,
            id=spared.id,
            node=self._node,
            tags=record.tags,
            pool=spared.queue.pool,
            sender=record.sender,
            recipient=record.recipient,
            domain=spared.queue.domain,
            attempt=record.attempts,
            origin=Origin.LOCAL,
            size=record.size,
            queued_at=record.accepted_at,
            next_attempt=due_at,
            client=record.client,
            properties=record.properties,
            tenant=record.tenant,
        )


def _disabled(rule: Rule) -> Rule:
    return msgspec.structs.replace(rule, enabled=False)
