"""Group commit: the store accepts messages that end within the same few milliseconds in one step.

A batch belongs to one lane, and so do the ids of its messages. Each lane has at most one batch that is being filled and
at most one in flight. A message without a lane of its own goes to the batch that is being gathered; a message with one
goes to the batch of its lane. While four batches are in flight, or the lane is busy, messages gather, however many
lanes there are. A batch does not wait for more messages when every client already waits for a reply. Nothing is
awaited per message: each gets its reply by a callback.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

from mta.admission.batch import BATCH_BYTES, BATCH_MESSAGES, OVERHEAD, Batch
from mta.admission.claim_on_accept import hand_over, reserve
from mta.admission.known_calls import reply_to
from mta.admission.other_deciders import OtherDeciders, joined, not_rejected
from mta.admission.parts import Part
from mta.model.errors import BacklogFull, StoreError, StoreFull, StoreUnsafe
from mta.model.ids import MessageId, first_message_id, lane_of, new_message_id
from mta.model.mail import Claimed, NewMessage, QueueShare
from mta.model.outcomes import Reply
from mta.ports.admission import SHUTTING_DOWN, AllDone, ClaimOnAccept, Done, Prepare
from mta.ports.idempotency import KnownCalls, OncePart
from mta.ports.queueing import UNDECIDED, AcceptanceDecision, Accepts, Ambiguous, DeciderKind
from mta.timing.clock import wall_seconds

log = logging.getLogger(__name__)

Decide = Callable[[Sequence[NewMessage]], AcceptanceDecision]

IN_FLIGHT = 4  # batches: more at a time would only be smaller, and each costs the store a step
WAITING_BYTES = 64 * 1024 * 1024
WAITING_MESSAGES = 20_000
_NO_ROOM: Mapping[QueueShare, int] = {}
_NO_CLAIMS: Mapping[QueueShare, Sequence[Claimed]] = {}

FULL = Reply(452, "4.3.1", "too much mail is waiting to be stored, try again later")
STORE_FULL = Reply(452, "4.3.1", "insufficient storage, try again later")
BACKLOG_FULL = Reply(452, "4.3.1", "the journal is behind, try again later")
TROUBLE = Reply(451, "4.3.0", "cannot store the message now, try again later")


class GroupCommit:
    """Fulfils ports.admission.Admission."""

    def __init__(
        self,
        store: Accepts,
        commit_delay: float,
        decide: Decide,
        *,
        others: OtherDeciders | None = None,
        delivery: ClaimOnAccept | None = None,
        clients: Callable[[], int] | None = None,
        has_room: Callable[[int], bool] = lambda size: True,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`commit_delay` is in seconds. `decide` applies the rules to a batch, and `others` then decide about the
        deliveries that the rules left. `delivery` claims mail as the store accepts it; None: this process does not
        deliver. `clients` returns the number of open sessions, of which each has one message under way at most.
        `has_room` returns whether the disk has room for a number of bytes. `clock` returns Unix seconds."""
        self._store = store
        self._decide = decide
        self._others = others or OtherDeciders()
        self._delivery = delivery
        self._clients = clients
        self._has_room = has_room
        self._delay = commit_delay
        self._clock = clock
        self._lanes = store.lanes
        self._next_lane = 0  # the search for a free lane begins here
        self._gathering: Batch | None = None  # the common batch; also in `_filling`
        self._filling: dict[int, Batch] = {}  # by lane
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._sealed: dict[int, deque[Batch]] = {lane: deque() for lane in range(store.lanes)}
        self._kept_back: deque[int] = deque()  # lanes with a sealed batch that waits for another one to end
        self._refusal: Reply | None = None
        self._closed = False
        self._known_bugs: set[str] = set()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.waiting_messages = 0
        self.waiting_bytes = 0
        self.accepted = 0  # messages
        self.accepted_recipients = 0
        self.accepted_bytes = 0
        self.refused = 0  # messages that `prepare` refused, for their headers or recipients
        self.rejected = 0  # messages refused by a forced error
        self.deferred = 0  # messages answered 4xx after a failure on our side
        self.unanswered = 0  # messages of ambiguous batches: their sessions were closed without a reply
        self.batches = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else self._refusal.text if self._refusal else "open"
        return (
            f"<GroupCommit {state}: {self.waiting_messages} messages ({self.waiting_bytes} bytes) waiting,"
            f" lanes in flight {sorted(self._in_flight)}>"
        )

    def refuse(self, reason: str) -> None:
        """Answer MAIL with 451 and `reason` from now on, until `allow`."""
        self.refuse_with(Reply(451, "4.3.0", reason))

    def refuse_with(self, reply: Reply) -> None:
        if self._refusal != reply:
            log.debug("this worker refuses mail: %s", reply.text)  # the supervisor logs it once for the node
        self._refusal = reply

    def allow(self) -> None:
        if self._refusal is not None:
            log.debug("this worker accepts mail again")
        self._refusal = None

    def refusal(self) -> Reply | None:
        """The reply to MAIL while no message may come; None: it may come."""
        if self._closed:
            return SHUTTING_DOWN
        if self._refusal is not None:
            return self._refusal
        return FULL if self.waiting_bytes >= WAITING_BYTES or self.waiting_messages >= WAITING_MESSAGES else None

    def admit(self, prepare: Prepare, done: Done, lane: int | None = None) -> Reply | None:
        batch = self._gathering if lane is None else self._filling.get(lane)
        if batch is None:
            batch = self._batch_of(lane)
        now_ms = int(self._clock() * 1000)
        message = prepare(new_message_id(batch.lane, now_ms), now_ms)
        if isinstance(message, Reply):
            self.refused += 1
            return message
        size = len(message.content) + OVERHEAD
        if refusal := self._no_room(size):
            self.deferred += 1
            return refusal
        self._added(batch, 1, size, batch.add(message, done, size))
        return None

    def begin_call(self, lane: int | None = None) -> MessageId:
        if lane is None:
            lane = (self._gathering or self._batch_of(None)).lane
        return first_message_id(lane, int(self._clock() * 1000))

    def admit_part(self, messages: Sequence[NewMessage], done: AllDone, once: OncePart | None = None) -> Reply | None:
        size = sum(len(message.content) for message in messages) + len(messages) * OVERHEAD
        if refusal := self._no_room(size):
            self.deferred += len(messages)
            return refusal
        batch = self._batch_of(lane_of(messages[0].id))
        if len(batch.messages) + len(messages) > BATCH_MESSAGES:
            self._seal(batch)
            batch = self._batch_of(batch.lane)
        if once is not None:
            batch.add_once(once, len(messages))
        part = Part(len(messages), done)
        is_full = False
        for place, message in enumerate(messages):
            is_full = batch.add(message, partial(part.answered, place), len(message.content) + OVERHEAD)
        self._added(batch, len(messages), size, is_full)
        return None

    async def close(self) -> None:
        """Refuse all further messages; returns when each message taken before has its reply."""
        self._closed = True
        self._seal_all()
        await self._emptied.wait()
        await self._others.close()

    def _no_room(self, size: int) -> Reply | None:
        """The reply to what is not taken now; one message of any size always is."""
        if self._closed:
            return SHUTTING_DOWN
        is_full = self.waiting_messages and self.waiting_bytes + size > WAITING_BYTES + BATCH_BYTES
        return FULL if is_full else None

    def _added(self, batch: Batch, messages: int, size: int, is_full: bool) -> None:
        """So many messages of `size` bytes were added to the batch."""
        if not self.waiting_messages:
            self._emptied.clear()
        self.waiting_messages += messages
        self.waiting_bytes += size
        if is_full:
            self._seal(batch)
        elif self._all_clients_wait():
            self._seal_all()
        elif batch.timer is None:
            batch.timer = asyncio.get_running_loop().call_later(self._delay, self._delay_passed, batch)

    def _batch_of(self, lane: int | None) -> Batch:
        """A batch for messages of `lane`; None: the common batch, in a lane that is chosen now."""
        wanted = self._choose_lane() if lane is None else lane
        batch = self._filling.get(wanted)
        if batch is None:
            batch = self._filling[wanted] = Batch(wanted)
        if lane is None:
            self._gathering = batch
        return batch

    def _choose_lane(self) -> int:
        """The next lane without a batch in flight, else the one with the fewest waiting batches."""
        in_flight, sealed = self._in_flight, self._sealed
        idle = (lane for lane in self._in_turn() if lane not in in_flight and not sealed[lane])
        best = next(idle, -1)
        if best < 0:
            best = min(self._in_turn(), key=lambda lane: len(sealed[lane]) + (lane in in_flight))
        self._next_lane = (best + 1) % self._lanes
        return best

    def _in_turn(self) -> Iterator[int]:
        return chain(range(self._next_lane, self._lanes), range(self._next_lane))

    def _all_clients_wait(self) -> bool:
        """Each client waits for a reply, and none of these is on its way."""
        return self._clients is not None and not self._in_flight and self.waiting_messages >= self._clients()

    def _delay_passed(self, batch: Batch) -> None:
        if batch.lane in self._in_flight or len(self._in_flight) >= IN_FLIGHT:
            batch.delay_passed = True
        else:
            self._seal(batch)

    def _seal_all(self) -> None:
        for batch in [batch for batch in self._filling.values() if batch.messages]:
            self._seal(batch)

    def _seal(self, batch: Batch) -> None:
        """Close this batch to messages; it is sent as soon as its lane has no batch in flight."""
        del self._filling[batch.lane]
        if batch is self._gathering:
            self._gathering = None
        if batch.timer is not None:
            batch.timer.cancel()
        self._sealed[batch.lane].append(batch)
        self._start_next(batch.lane)

    def _start_next(self, lane: int) -> None:
        if lane in self._in_flight:
            return
        waiting = self._sealed[lane]
        if len(self._in_flight) >= IN_FLIGHT:
            if waiting and lane not in self._kept_back:
                self._kept_back.append(lane)
        elif waiting:
            batch = waiting.popleft()
            self.batches += 1
            self._in_flight[lane] = asyncio.get_running_loop().create_task(self._commit(batch))
        elif (filling := self._filling.get(lane)) is not None and filling.delay_passed:
            self._seal(filling)

    def _start_others(self) -> None:
        """While there is room: the batches that waited for any other to end, then those whose commit_delay is over."""
        while self._kept_back and len(self._in_flight) < IN_FLIGHT:
            self._start_next(self._kept_back.popleft())
        for batch in [one for one in self._filling.values() if one.delay_passed and one.lane not in self._in_flight]:
            if len(self._in_flight) < IN_FLIGHT:
                self._seal(batch)

    async def _commit(self, batch: Batch) -> None:
        reply: Reply | None = TROUBLE
        try:
            decision = await self._store_batch(batch)
        except Ambiguous:
            reply = None
        except asyncio.CancelledError:  # the process ends: the result of the step is unknown
            reply = None
        except Exception as trouble:
            reply = self._reply_to(trouble)
        else:
            self._count(batch, decision)
            self._others.finish(batch.messages, decision.rejected)
            self._finish(batch)
            for message, done in zip(batch.messages, batch.done, strict=True):
                self._answer(done, reply_to(message, decision))
            return
        self._others.finish(batch.messages, () if reply is None else None)
        if reply is None:
            self.unanswered += len(batch.messages)
        else:
            self.deferred += len(batch.messages)
        self._finish(batch)
        for done in batch.done:
            self._answer(done, reply)

    async def _store_batch(self, batch: Batch) -> AcceptanceDecision:
        """Returns the decision with which the store accepted the batch. Raises StoreFull: the disk has no room."""
        if not self._has_room(batch.size):
            raise StoreFull("no space left on the disk")
        by_rules = self._decide(batch.messages)
        by_others = await self._others.decide(batch.messages, by_rules)
        decision = joined(by_rules, by_others)
        while not (accepted := await self._accepted(batch, decision)):
            if not batch.messages and not batch.once:
                return UNDECIDED
            again = self._decide(batch.messages)
            if accepted is None:
                # A table that stays below the barrier may not decide: the batch goes in without the rules.
                again = again if again.generation > decision.generation else UNDECIDED
            else:
                by_others = by_others.of(batch.messages)
            decision = joined(again, by_others)
        return decision

    async def _accepted(self, batch: Batch, decision: AcceptanceDecision) -> bool | None:
        """None: `decision` is too old. False: the store knows calls of the batch; these got their answers, and are out
        of it. Raises Ambiguous after a bug: the step may have run, so the client must get no reply."""
        delivery, lane = self._delivery, batch.lane
        messages = not_rejected(batch.messages, decision)
        calls = batch.parts_to_keep(decision) if batch.once else ()
        claimed = None
        try:
            if delivery is None:
                answer = await self._store.accept(lane, messages, decision, _NO_ROOM, calls)
            else:
                reserved = reserve(delivery, messages, decision)
                try:
                    answer = await self._store.accept(lane, messages, decision, reserved, calls)
                    claimed = None if isinstance(answer, KnownCalls) else answer
                finally:
                    hand_over(delivery, reserved, claimed or _NO_CLAIMS)
            if isinstance(answer, KnownCalls):
                self._take_out(batch, answer)
                return False
            return None if answer is None else True
        except (StoreError, Ambiguous):
            raise
        except Exception as bug:
            self._log_bug(bug)
            raise Ambiguous(str(bug)) from bug

    def _take_out(self, batch: Batch, known: KnownCalls) -> None:
        """Answer the parts that may not run from what the store keeps of their calls."""
        size = batch.size
        messages, calls = batch.take_out(known.calls)
        self._others.finish(messages, None)
        self.waiting_messages -= len(messages)
        self.waiting_bytes -= size - batch.size
        for part, kept in calls:
            try:
                part.known(kept)
            except Exception:
                log.exception("a client's call failed when it got the answer to an idempotent call")

    def _count(self, batch: Batch, decision: AcceptanceDecision) -> None:
        messages = len(batch.messages)
        rejected = (
            [message for message in batch.messages if message.id in decision.rejected] if decision.rejected else []
        )
        by_quota = sum(one.by.kind is DeciderKind.QUOTA for one in decision.rejected.values())
        self.deferred += by_quota
        self.rejected += len(rejected) - by_quota
        self.accepted += messages - len(rejected)
        self.accepted_recipients += batch.recipients - sum(len(message.recipients) for message in rejected)
        content = batch.size - messages * OVERHEAD
        self.accepted_bytes += content - sum(len(message.content) for message in rejected)

    def _finish(self, batch: Batch) -> None:
        """Free the lane. Its next batch is sent before any client of this batch gets its reply."""
        del self._in_flight[batch.lane]
        self.waiting_messages -= len(batch.messages)
        self.waiting_bytes -= batch.size
        self._start_next(batch.lane)
        self._start_others()
        if not self.waiting_messages:
            self._emptied.set()

    def _answer(self, done: Done, reply: Reply | None) -> None:
        try:
            done(reply)
        except Exception:  # the sessions of the other messages must get their replies all the same
            log.exception("a session failed when it got the reply to its message")

    def _reply_to(self, trouble: Exception) -> Reply:
        if isinstance(trouble, StoreFull):
            return STORE_FULL
        if isinstance(trouble, BacklogFull):
            return BACKLOG_FULL
        if isinstance(trouble, StoreUnsafe):
            return Reply(451, "4.3.0", f"the store is unsafe: {trouble}")
        if not isinstance(trouble, StoreError):
            self._log_bug(trouble)
        return TROUBLE

    def _log_bug(self, bug: Exception) -> None:
        shown = f"{type(bug).__name__}: {bug}"[:200]
        if shown not in self._known_bugs and len(self._known_bugs) < 1000:
            self._known_bugs.add(shown)
            log.error("a batch was not accepted because of a bug", exc_info=bug)
