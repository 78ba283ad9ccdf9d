"""Calls with an idempotency key: each of their messages is accepted once, however often the call is made.

A call is accepted in parts. The store notes with each part how far the call has come, and which session works on it. A
repeat goes on there once nobody works on it any more, and gets the answer of a call that is complete.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from mta.admission.known_calls import replies_of
from mta.model.errors import StoreError
from mta.model.idempotency import IdempotencyKey
from mta.model.ids import id_in_row, made_at
from mta.ports.admission import Handed
from mta.ports.idempotency import CallKeys, KeepMode, KeptCall, KeyRefusal, KeyTrouble
from mta.timing.backoff import Backoff

log = logging.getLogger(__name__)

_LEAVE_TRIES: Final = 60
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0  # seconds between them


class KeyedCallWork:
    """The work of this process on one call. Fulfils ports.admission.KeyedWork."""

    def __init__(self, key: IdempotencyKey, kept: KeptCall | None, lane: int, window_ms: int, keep: KeepMode) -> None:
        self.key = key
        self.kept = kept
        self.lane = lane
        self.window_ms = window_ms
        self.keep = keep
        self.note = b"" if kept is None else kept.note
        self.is_open = kept is not None and not kept.is_complete  # the store says that this session works on it

    @property
    def is_complete(self) -> bool:
        return self.kept is not None and self.kept.is_complete

    @property
    def earlier(self) -> Sequence[Handed]:
        kept = self.kept
        if kept is None:
            return ()
        return [Handed(id_in_row(kept.first, place), reply) for place, reply in enumerate(replies_of(kept))]

    @property
    def began_at(self) -> int | None:
        return None if self.kept is None else made_at(self.kept.first)


class KeyedCalls:
    """The calls with a key that this process works on."""

    def __init__(self, keys: CallKeys, lanes: int, window: float, has_room: Callable[[], bool]) -> None:
        """`window` is in seconds; `has_room`: whether the store has room for new keys."""
        self.keys = keys
        self._lanes = lanes
        self._window_ms = int(window * 1000)
        self._has_room = has_room
        self._at_work: set[bytes] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self.replayed = 0  # messages

    @contextlib.asynccontextmanager
    async def work_on(self, key: IdempotencyKey) -> AsyncIterator[KeyedCallWork]:
        """Raises KeyRefusal, StoreError."""
        if key.name in self._at_work:
            raise KeyRefusal(KeyTrouble.UNDER_WAY)
        self._at_work.add(key.name)
        try:
            keep = KeepMode.KEEP if self._has_room() else KeepMode.NO_ROOM
            work = KeyedCallWork(key, await self._standing(key), key.lane(self._lanes), self._window_ms, keep)
            try:
                yield work
            finally:
                if work.is_open:
                    self._leave_soon(key)
        finally:
            self._at_work.discard(key.name)

    async def _standing(self, key: IdempotencyKey) -> KeptCall | None:
        """The call as the store has it; if it is not complete, this session goes on with it."""
        kept = await self.keys.look(key)
        ours = True
        if kept is not None and not kept.is_complete and kept.content == key.content:
            kept, ours = await self.keys.take(key)
        if kept is None:
            return None
        if kept.content != key.content:
            raise KeyRefusal(KeyTrouble.OTHER_CONTENT)
        if kept.is_complete:
            self.replayed += kept.done
        elif not ours:
            raise KeyRefusal(KeyTrouble.UNDER_WAY)
        return kept

    def _leave_soon(self, key: IdempotencyKey) -> None:
        """The call has stopped: the store hears that any process may go on with it, this one too."""
        task = asyncio.get_running_loop().create_task(self._leave(key))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, key: IdempotencyKey) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)
        for _ in range(_LEAVE_TRIES):
            if key.name in self._at_work:
                return  # a repeat has come: it goes on
            try:
                await self.keys.leave(key)
                return
            except StoreError as error:
                log.debug("the store has not heard yet that a call stopped: %s", error)
                await asyncio.sleep(backoff.failed())
