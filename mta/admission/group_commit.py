"""Group commit: messages that end within the same few milliseconds are accepted by the store in one step.

A batch belongs to one lane, and so do the ids of its messages. At most one batch per lane is in flight; while all lanes
are busy, messages gather. When every client waits for its reply there is nobody to wait for. Nothing is awaited per
message: each gets its reply by a callback.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from mta.model.errors import BacklogFull, StoreError, StoreFull, StoreUnsafe
from mta.model.ids import MessageId, message_text, new_message_id
from mta.model.mail import NewMessage
from mta.model.outcomes import Reply
from mta.ports.queueing import NO_DOOR, Accepts, Ambiguous, Doorway
from mta.timing.clock import wall_seconds

log = logging.getLogger(__name__)

Done = Callable[[Reply | None], None]
Ask = Callable[[Sequence[NewMessage]], Doorway]

BATCH_RECIPIENTS = 500  # nobody waits long behind one step of the store
BATCH_MESSAGES = 100
BATCH_BYTES = 4 * 1024 * 1024
WAITING_BYTES = 64 * 1024 * 1024
WAITING_MESSAGES = 20_000
_OVERHEAD = 1024  # what a waiting message costs besides its content, roughly

FULL = Reply(452, "4.3.1", "too much mail is waiting to be stored, try again later")
STORE_FULL = Reply(452, "4.3.1", "insufficient storage, try again later")
BACKLOG_FULL = Reply(452, "4.3.1", "the journal is behind, try again later")
TROUBLE = Reply(451, "4.3.0", "cannot store the message now, try again later")
SHUTTING_DOWN = Reply(421, "4.3.2", "shutting down, try again later")


class _Batch:
    """Messages of one lane on their way into the store, and whom to tell."""

    __slots__ = ("done", "due", "lane", "messages", "recipients", "size")

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.messages: list[NewMessage] = []
        self.done: list[Done] = []
        self.size = 0
        self.recipients = 0
        self.due = False  # its commit_delay has passed; it waits for its lane

    @property
    def full(self) -> bool:
        return len(self.messages) >= BATCH_MESSAGES or self.size >= BATCH_BYTES or self.recipients >= BATCH_RECIPIENTS


class Admission:
    """Takes read messages, answers each exactly once: a Reply, or None for "close the connection without one"."""

    def __init__(
        self,
        store: Accepts,
        commit_delay: float,
        ask: Ask,
        *,
        has_room: Callable[[int], bool] = lambda size: True,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`commit_delay` in seconds; `ask` says what the rules make of a batch, `has_room` whether the disk has room
        for so many bytes; `clock` gives Unix seconds."""
        self._store = store
        self._ask = ask
        self._has_room = has_room
        self._delay = commit_delay
        self._clock = clock
        self._lanes = store.lanes
        self._lane = 0  # where the next batch begins to look for a free lane
        self._batch: _Batch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._sealed: dict[int, deque[_Batch]] = {lane: deque() for lane in range(store.lanes)}
        self._refusal: Reply | None = None
        self._clients: Callable[[], int] | None = None
        self._closed = False
        self._known_bugs: set[str] = set()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.waiting_messages = 0
        self.waiting_bytes = 0
        self.accepted = 0  # messages
        self.accepted_recipients = 0
        self.accepted_bytes = 0
        self.rejected = 0  # refused by a forced error
        self.deferred = 0  # answered 4xx for our own trouble
        self.unanswered = 0  # ambiguous: closed without a reply
        self.batches = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else self._refusal.text if self._refusal else "open"
        return (
            f"<Admission {state}: {self.waiting_messages} messages ({self.waiting_bytes} bytes) waiting,"
            f" lanes in flight {sorted(self._in_flight)}>"
        )

    def comes_from(self, clients: Callable[[], int]) -> None:
        """`clients` counts those that may hand in a message, each one at a time."""
        self._clients = clients

    def refuse(self, reason: str) -> None:
        """Answer MAIL with 451 and `reason` from now on, until `allow`."""
        self.refuse_with(Reply(451, "4.3.0", reason))

    def refuse_with(self, reply: Reply) -> None:
        if self._refusal != reply:
            log.debug("no mail is taken: %s", reply.text)  # the supervisor says so once for the node
        self._refusal = reply

    def allow(self) -> None:
        if self._refusal is not None:
            log.debug("mail is taken again")
        self._refusal = None

    def gate(self) -> Reply | None:
        """Why no message is taken at this moment; None: it may come."""
        if self._closed:
            return SHUTTING_DOWN
        if self._refusal is not None:
            return self._refusal
        return FULL if self.waiting_bytes >= WAITING_BYTES or self.waiting_messages >= WAITING_MESSAGES else None

    def next_id(self) -> tuple[MessageId, int]:
        """An id in the lane of the batch that is being gathered, and the time (Unix ms) it was made."""
        batch = self._batch
        if batch is None:
            batch = self._batch = _Batch(self._choose_lane())
        now_ms = int(self._clock() * 1000)
        return new_message_id(batch.lane, now_ms), now_ms

    def submit(self, message: NewMessage, done: Done) -> Reply | None:
        """Accept `message`, whose id came from the last `next_id`, without an await between the two.

        None: `done` will be called, later and once. A Reply: it is not taken and this is its answer.
        """
        size = len(message.content) + _OVERHEAD
        if self._closed:
            self.deferred += 1
            return SHUTTING_DOWN
        if self.waiting_messages and self.waiting_bytes + size > WAITING_BYTES + BATCH_BYTES:
            self.deferred += 1  # one message of any size is always taken
            return FULL
        self.waiting_messages += 1
        self.waiting_bytes += size
        self._emptied.clear()
        batch = self._batch
        assert batch is not None, "next_id comes before submit"
        batch.messages.append(message)
        batch.done.append(done)
        batch.size += size
        batch.recipients += len(message.recipients)
        if batch.full or self._nobody_else_comes():
            self._seal(batch)
        elif len(batch.messages) == 1:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._delay_passed, batch)
        return None

    async def close(self) -> None:
        """Take nothing more; returns when everything that was taken has its answer."""
        self._closed = True
        if self._batch is not None and self._batch.messages:
            self._seal(self._batch)
        await self._emptied.wait()

    def _choose_lane(self) -> int:
        """The next lane with nothing under way, else the one with the shortest queue."""
        lanes = self._lanes
        order = [(self._lane + step) % lanes for step in range(lanes)]
        best = min(order, key=lambda lane: len(self._sealed[lane]) + (lane in self._in_flight))
        self._lane = (best + 1) % lanes
        return best

    def _nobody_else_comes(self) -> bool:
        """Each client waits for a reply, and none of these is on its way."""
        return self._clients is not None and not self._in_flight and self.waiting_messages >= self._clients()

    def _delay_passed(self, batch: _Batch) -> None:
        if batch is not self._batch:
            return
        if batch.lane in self._in_flight:
            batch.due = True
        else:
            self._seal(batch)

    def _seal(self, batch: _Batch) -> None:
        """No more messages for this batch: it goes as soon as its lane is free."""
        self._batch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sealed[batch.lane].append(batch)
        self._start_next(batch.lane)

    def _start_next(self, lane: int) -> None:
        if lane in self._in_flight:
            return
        waiting = self._sealed[lane]
        if waiting:
            batch = waiting.popleft()
            self.batches += 1
            self._in_flight[lane] = asyncio.get_running_loop().create_task(self._flush(batch))
        elif self._batch is not None and self._batch.lane == lane and self._batch.due:
            self._seal(self._batch)

    async def _flush(self, batch: _Batch) -> None:
        reply: Reply | None = TROUBLE
        try:
            door = await self._store_batch(batch)
        except Ambiguous:
            reply = None
        except asyncio.CancelledError:  # the process is ending: what became of the step is unknown
            reply = None
        except Exception as trouble:
            reply = self._reply_to(trouble)
        else:
            taken = _let_in(batch.messages, door)
            self._count_accepted(taken)
            self.rejected += len(batch.messages) - len(taken)
            self._finish(batch)
            for message, done in zip(batch.messages, batch.done, strict=True):
                refused = door.rejected.get(message.id)
                told = (
                    Reply(250, "2.0.0", f"queued as {message_text(message.id)}") if refused is None else refused.reply
                )
                self._tell(done, told)
            return
        if reply is None:
            self.unanswered += len(batch.messages)
        else:
            self.deferred += len(batch.messages)
        self._finish(batch)
        for done in batch.done:
            self._tell(done, reply)

    async def _store_batch(self, batch: _Batch) -> Doorway:
        """Returns what the rules had decided when the store took it. Raises StoreFull where the disk has no room."""
        if not self._has_room(batch.size):
            raise StoreFull("no space left on the disk")
        door = self._ask(batch.messages)
        while not await self._accepted(batch.lane, _let_in(batch.messages, door), door):
            again = self._ask(batch.messages)
            # A table that is below the barrier and does not move on is nobody's to decide by.
            door = again if again.generation > door.generation else NO_DOOR
        return door

    async def _accepted(self, lane: int, messages: Sequence[NewMessage], door: Doorway) -> bool:
        """As the store says. Raises Ambiguous after a bug: the step may have run, so no reply may be given."""
        try:
            return await self._store.accept(lane, messages, door)
        except (StoreError, Ambiguous):
            raise
        except Exception as bug:
            self._tell_bug(bug)
            raise Ambiguous(str(bug)) from bug

    def _count_accepted(self, messages: Sequence[NewMessage]) -> None:
        self.accepted += len(messages)
        for message in messages:
            self.accepted_recipients += len(message.recipients)
            self.accepted_bytes += len(message.content)

    def _finish(self, batch: _Batch) -> None:
        """The lane is free again; what waited for it goes before anyone is told."""
        del self._in_flight[batch.lane]
        self.waiting_messages -= len(batch.messages)
        self.waiting_bytes -= batch.size
        self._start_next(batch.lane)
        if not self.waiting_messages:
            self._emptied.set()

    def _tell(self, done: Done, reply: Reply | None) -> None:
        try:
            done(reply)
        except Exception:  # one session's fault must not cost the others their replies
            log.exception("a session failed on the reply to its message")

    def _reply_to(self, trouble: Exception) -> Reply:
        if isinstance(trouble, StoreFull):
            return STORE_FULL
        if isinstance(trouble, BacklogFull):
            return BACKLOG_FULL
        if isinstance(trouble, StoreUnsafe):
            return Reply(451, "4.3.0", f"the store is unsafe: {trouble}")
        if not isinstance(trouble, StoreError):
            self._tell_bug(trouble)
        return TROUBLE

    def _tell_bug(self, bug: Exception) -> None:
        shown = f"{type(bug).__name__}: {bug}"[:200]
        if shown not in self._known_bugs and len(self._known_bugs) < 1000:
            self._known_bugs.add(shown)
            log.error("accepting a batch failed for a reason that is a bug", exc_info=bug)


def _let_in(messages: Sequence[NewMessage], door: Doorway) -> Sequence[NewMessage]:
    rejected = door.rejected
    return [message for message in messages if message.id not in rejected] if rejected else messages
