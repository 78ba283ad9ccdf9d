"""Messages and deliveries in their lanes: accept, claim, settle, reclaim."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from mta.model.brakes import RateCount
from mta.model.errors import BacklogFull, SessionLost, StoreAway, StoreError, StoreRefuses, StoreUnreached
from mta.model.ids import DeliveryId, delivery_text
from mta.model.mail import Claimed, NewMessage, QueueKey, QueueShare, Record
from mta.model.shares import place_of, split_place
from mta.ports.idempotency import CallPart, KnownCalls
from mta.ports.queueing import UNDECIDED, AcceptanceDecision, Ambiguous, ClaimRequest, Due, Settled, Settlement
from mta.redis_store import codec, keys
from mta.redis_store.content import IN_PIECES, StoredContent
from mta.redis_store.each_lane import each_lane
from mta.redis_store.kept_calls import known_calls
from mta.redis_store.link import Link
from mta.redis_store.session import StoreSession
from mta.redis_store.steps.accept import AcceptStep
from mta.redis_store.steps.settle import settle_call
from mta.timing.backoff import Backoff
from mta.timing.clock import wall_ms

_ANSWERS = {ord("O"): Settled.OK, ord("S"): Settled.STALE, ord("R"): Settled.OLD_RULES, ord("C"): Settled.CANCEL}
_TO_BE_CANCELED = b"x"  # before the author of the order, instead of its content, see claim.lua

_COMMONS_GONE: Final = b"K"
_MOST_COMMONS: Final = 4096  # digests of a lane that are remembered

_NOTHING: Final[Mapping[QueueShare, int]] = {}
_UNREADABLE = Record(sender="", recipient="", tags=(), size=0, accepted_at=0, expires_at=0)


class Queues:
    """Fulfils ports.queueing.Accepts, Claims and Reclaims for one session."""

    def __init__(
        self,
        link: Link,
        session: StoreSession,
        lanes: int,
        content: StoredContent,
        *,
        timeout: float,
        backlog_hard: int,
        retention: float,
    ) -> None:
        self.lanes = lanes
        self._link = link
        self._session = session
        self._timeout = timeout
        self._content = content
        self._backlog_hard = backlog_hard
        self._retention_ms = int(retention * 1000)
        self._numbers = [0] * lanes  # of accept batches
        self._claims = [0] * lanes  # numbers of claims
        self._tokens = [0] * lanes  # last fencing token seen
        self._unsure: set[int] = set()  # lanes where a claim's answer was lost
        self._unseen: dict[
            int, list[tuple[str, int]]
        ] = {}  # by lane: session and number of accepts that may have claimed
        self._past_settled: set[asyncio.Task[None]] = set()
        self._commons: list[set[bytes]] = [set() for _ in range(lanes)]  # digests that each lane has of this session
        self._prefixes = [keys.lane_prefix(lane) for lane in range(lanes)]

    # Intake

    async def accept(
        self,
        lane: int,
        messages: Sequence[NewMessage],
        decision: AcceptanceDecision = UNDECIDED,
        reserved: Mapping[QueueShare, int] = _NOTHING,
        calls: Sequence[CallPart] = (),
    ) -> Mapping[QueueShare, Sequence[Claimed]] | KnownCalls | None:
        await self._link.ensure_safe()
        self._numbers[lane] += 1
        session, number = self._session.id, self._numbers[lane]
        step = AcceptStep(self._prefixes[lane], self._session.node, self._content, decision, calls)
        await step.put_large(messages)
        for message in messages:
            step.add(message)
        taken = await self._accept(lane, step, session, number, reserved)
        if taken is None:
            return None
        if isinstance(taken, KnownCalls):
            self._numbers[lane] -= 1  # the rest of the batch goes under it; whichever runs first, no other does
            return taken
        try:
            await self._ensure_kept()
        except BaseException:
            if any(taken):
                self._unseen.setdefault(lane, []).append((session, number))
            raise
        ours = self._session.id == session  # else it was given up for dead, and these are others' now
        return step.claimed(number, taken if ours else ())

    async def _accept(
        self, lane: int, step: AcceptStep, session: str, number: int, reserved: Mapping[QueueShare, int]
    ) -> Sequence[int] | KnownCalls | None:
        """How many deliveries of each queue the step claimed, () = not known; None: the decision was too old."""
        step_keys = step.keys(session) if self._link.checks_keys else [self._prefixes[lane] + b"lane"]
        step_args = step.args(session, number, self._backlog_hard, self._retention_ms, reserved)
        contents = (self._prefixes[lane] + b"content", step.contents) if step.contents else None
        deadline = time.monotonic() + self._timeout
        unsure = False  # a copy of the step may be on its way
        while True:
            try:
                answer = await self._link.call(b"accept", step_keys, step_args, fields=contents)
                if answer == b"RULES":  # so would any copy be answered: a barrier never sinks
                    return None
                if answer == b"DUP" and unsure:
                    self._unseen.setdefault(lane, []).append((session, number))
                    return ()
                if isinstance(answer, list):
                    return known_calls(answer) if answer[0] == b"KEYS" else answer[1:]
                raise _refusal(answer, session)
            except StoreAway as away:
                unsure = unsure or not isinstance(away, StoreUnreached | StoreRefuses)
                if not unsure and (isinstance(away, StoreRefuses) or time.monotonic() > deadline):
                    raise  # no copy of the step has run, or ever will
                if time.monotonic() > deadline:
                    await self._void(session, lane, number, away)
                    return ()
                await asyncio.sleep(0.05)
            except StoreError as error:
                if not unsure:
                    raise
                await self._void(session, lane, number, error)
                return ()

    async def _ensure_kept(self) -> None:
        """The step may have opened its connection, to a server nobody has checked; Ambiguous where it is unsafe."""
        try:
            await self._link.ensure_safe()
        except StoreError as error:
            raise Ambiguous(str(error)) from error

    async def _void(self, session: str, lane: int, number: int, error: StoreError) -> None:
        """Returns when the batch has run after all; raises `error` once it never can, else Ambiguous."""
        try:
            answer = await self._link.call(b"void", self._void_keys(lane, session), [session, number, wall_ms()])
        except StoreError as away:
            self._unseen.setdefault(lane, []).append((session, number))
            raise Ambiguous(str(away)) from away
        if answer == b"VOID":
            raise error
        if answer != b"RAN":
            raise Ambiguous(f"session {session} was given up")
        await self._ensure_kept()

    # Delivery

    async def agenda(self, lane: int, pools: Sequence[str], most: int) -> list[Due]:
        await self._give_back_unseen(lane)
        answer = await self._link.call(b"agenda", [self._prefixes[lane] + b"lane"], [most, wall_ms(), *pools])
        found = []
        for at in range(1, len(answer), 3):
            pool, share = split_place(answer[at].decode())
            found.append(Due(QueueKey(pool, answer[at + 1].decode()), int(float(answer[at + 2])), share))
        return found

    async def claim(self, lane: int, requests: Sequence[ClaimRequest], most_bytes: int) -> list[Claimed]:
        await self._give_back_unseen(lane)
        prefix, session = self._prefixes[lane], self._session.id
        step_keys = self._claim_keys(lane, session)
        step_keys += [prefix + name for name in (b"content", b"parked", b"count")]
        self._claims[lane] += 1
        args: list[bytes | str | int] = [session, self._claims[lane], most_bytes, wall_ms()]
        for queue, most, share in requests:
            step_keys += keys.queue_keys(prefix, queue, share)
            args += (place_of(queue.pool, share), queue.domain, most)
        try:
            answer = await self._link.call(b"claim", step_keys, args)
        except BaseException:
            # If the step ran, this session holds claims that it does not know.
            self._unsure.add(lane)
            raise
        if answer == b"LOST":
            raise SessionLost(session)
        if answer == b"LATE":
            return []
        if self._session.id != session:  # given up for dead meanwhile: these are others' now
            return []
        token, claimed = answer[0], []
        self._tokens[lane] = max(self._tokens[lane], int(token))
        for row in answer[1:]:
            pool, share = split_place(row[0].decode())
            queue = QueueKey(pool, row[1].decode())
            for at in range(2, len(row), 3):
                claimed.append(_claimed(row[at], token, queue, row[at + 1], row[at + 2], share))
        return claimed

    async def _give_back_unseen(self, lane: int) -> None:
        """Returns deliveries to their queues that this session may have claimed by calls whose answers were lost."""
        if lane in self._unsure:
            args: list[bytes | str | int] = [self._session.id, self._claims[lane], self._tokens[lane], wall_ms()]
            await self._link.call(b"recall", self._claim_keys(lane, self._session.id), args)
            self._unsure.discard(lane)
        while unseen := self._unseen.get(lane):
            session, number = unseen[0]
            await self._link.call(b"void", self._void_keys(lane, session), [session, number, wall_ms()])
            unseen.remove((session, number))

    def _void_keys(self, lane: int, session: str) -> list[bytes]:
        prefix = self._prefixes[lane]
        return [prefix + b"lane", prefix + b"ingest", keys.claimed_key(prefix, session.encode()), prefix + b"rec"]

    @property
    def has_accepted(self) -> bool:
        """Whether this process has sent an accept."""
        return any(self._numbers)

    async def farewell(self) -> None:
        """Returns all claims of this session to their queues and forgets the session: it ends in good order."""
        session = self._session.id

        async def leave(lane: int) -> None:
            await self._link.call(b"farewell", self._claim_keys(lane, session), [session, wall_ms()])

        await each_lane(range(self.lanes), leave)

    def _claim_keys(self, lane: int, session: str) -> list[bytes]:
        prefix = self._prefixes[lane]
        return [prefix + name for name in (b"lane", b"claimed:" + session.encode(), b"rec", b"ingest", b"holders")]

    async def settle(self, lane: int, changes: Sequence[Settlement], rates: Sequence[RateCount] = ()) -> list[Settled]:
        answers = await self._settle(lane, changes, rates)
        if answers == _COMMONS_GONE:
            self._commons[lane].clear()
            answers = await self._settle(lane, changes, rates)
        self._note_commons(lane, changes)
        settled = [_ANSWERS[answer] for answer in answers[: len(changes)]]
        if len(answers) > len(changes):
            canceled = (change for change, said in zip(changes, settled, strict=True) if said is Settled.CANCEL)
            for change, by in zip(canceled, answers[len(changes) + 1 :].split(b"\0"), strict=True):
                change.canceled_by = by.decode()
        self._tell_past_settled(changes, settled)
        return settled

    async def _settle(self, lane: int, changes: Sequence[Settlement], rates: Sequence[RateCount]) -> bytes:
        step_keys, args = settle_call(
            self._prefixes[lane], self._session.id, self._retention_ms, changes, rates, self._commons[lane],
            all_keys=self._link.checks_keys,
        )  # fmt: skip
        answers: bytes = await self._link.call(b"settle", step_keys, args, patient=True)
        return answers

    def _note_commons(self, lane: int, changes: Sequence[Settlement]) -> None:
        """The lane has the common fields of these changes from now on."""
        kept = self._commons[lane]
        if len(kept) > _MOST_COMMONS:
            kept.clear()
        kept.update([change.shared.digest for change in changes if change.shared is not None])

    async def note(self, lane: int, events: Sequence[bytes]) -> None:
        """Append events that change no state."""
        prefix = self._prefixes[lane]
        await self._link.call(b"note", [prefix + b"lane", prefix + b"events"], events)

    def _tell_past_settled(self, changes: Sequence[Settlement], settled: Sequence[Settled]) -> None:
        """Rules wait for what was past its dot: `quiet_at` is when the last of it was settled."""
        done: dict[str, list[str]] = {}
        for change, answer in zip(changes, settled, strict=True):
            if change.past_dot_of and (answer is Settled.OK or answer is Settled.STALE):
                for rule in change.past_dot_of:
                    done.setdefault(rule, []).append(delivery_text(change.id))
        for rule, ids in done.items():
            task = asyncio.get_running_loop().create_task(self._past_dot_settled(rule, ids))
            self._past_settled.add(task)
            task.add_done_callback(self._past_settled.discard)

    async def _past_dot_settled(self, rule: str, ids: Sequence[str]) -> None:
        at = wall_ms()
        backoff = Backoff(0.1, 5.0)
        for _ in range(100):
            try:
                await self._link.call(b"past_settled", [keys.RULES_HEAD, keys.past_key(rule)], [at, *ids])
                return
            except StoreAway:
                await asyncio.sleep(backoff.failed())

    # Other processes' claims

    async def holders(self) -> set[str]:
        """The sessions that hold claims, known ones and others."""
        found = await each_lane(
            range(self.lanes), lambda lane: self._link.quick("SMEMBERS", self._prefixes[lane] + b"holders")
        )
        return {name.decode() for names in found for name in names}

    async def reclaim(self, lane: int, session: str, most: int) -> int:
        """Take back what a dead session holds in the lane; 0 = it holds nothing more there."""
        return int(await self._link.call(b"reclaim", self._claim_keys(lane, session), [session, most, wall_ms()]))


def _refusal(answer: bytes, session: str) -> StoreError:
    if answer == b"BACKLOG":
        return BacklogFull("the journal is too far behind")
    if answer == b"LOST":
        return SessionLost(session)
    return StoreError(f"accept answered {answer!r}")


def _claimed(id_: bytes, token: bytes, queue: QueueKey, raw: bytes, content: bytes | None, share: str) -> Claimed:
    canceled_by = content[1:].decode() if content is not None and content[:1] == _TO_BE_CANCELED else None
    try:
        reclaims, record = codec.decode_record(raw)
        if canceled_by is not None:
            return Claimed(DeliveryId(id_), token, queue, record, b"", reclaims, canceled_by, share)
        whole = codec.decode_content(content) if content is not None and content != IN_PIECES else None
    except codec.UNREADABLE:
        # The dispatcher parks what was lost this often; the raw record stays as it is.
        return Claimed(DeliveryId(id_), token, queue, _UNREADABLE, b"", 255, share=share)
    return Claimed(DeliveryId(id_), token, queue, record, whole, reclaims, share=share)
