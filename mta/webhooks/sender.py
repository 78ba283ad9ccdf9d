"""The sender of one endpoint: a window of requests, their retries, and the point at which it is given up."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from mta.model.errors import HistoryError, SealError
from mta.model.ids import message_of
from mta.model.webhooks import Endpoint, EndpointFigures, Replay
from mta.policy.webhook_events import batch_body, body_of, kind_of
from mta.policy.webhook_retry import MOST_WAITING, holds_all, is_last, pause_ms
from mta.policy.webhook_signature import signed_headers
from mta.ports.history import Cursor
from mta.ports.webhooks import KeptState, KeptStream, PostAnswer, StateChange
from mta.timing.alarm import Alarm
from mta.webhooks.health import Health
from mta.webhooks.parts import Parts
from mta.webhooks.stream import Changes, Item, Request, Stream

log = logging.getLogger(__name__)

WINDOW: Final = 64  # requests under way
_MOST_IN_FLIGHT: Final = 10_000  # events in them
_IDLE: Final = 30.0  # seconds; everything that matters rings
_READ_AGAIN_MS: Final = 1000  # until events that could not be read are asked for again


class Sender:
    """Sends while it has the lease of its endpoint."""

    def __init__(self, endpoint: Endpoint, owner: int, state: KeptState, parts: Parts) -> None:
        self.endpoint = endpoint
        self.owner = owner  # that every write of the state needs
        self.lease_until = 0.0  # by the clock
        self._parts = parts
        self._busy: set[bytes] = set()
        self.live = Stream(state.streams[False], state.requests[False], endpoint.batch, self._busy)
        self.replay: Stream | None = None
        if True in state.streams:
            self.replay = Stream(state.streams[True], state.requests[True], endpoint.batch, self._busy)
        self._health = Health(state.figures)
        self._kept_figures = state.figures
        self._alarm = Alarm()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0  # requests
        self._in_flight = 0  # events in them
        self._not_before = 0  # Unix ms, where a Retry-After said so
        self._disabled = bool(endpoint.disabled_at)
        self._replay_gone = False
        self._replay_next = False  # whose turn it is, where both streams have something
        self._stopping = False
        self._sent = 0
        self._sealed: tuple[bytes, bytes] | None = None
        self._secrets: list[bytes] = []
        self._run: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "disabled" if self._disabled else "failing" if self.is_failing else "active"
        return f"<Sender {self.endpoint.id} {state}, {self._under_way} requests, {self.live.unanswered} unanswered>"

    # Feeding

    @property
    def is_failing(self) -> bool:
        return self._health.has_failed and self._health.is_failing(self._waiting)

    @property
    def _waiting(self) -> int:
        return self.live.waiting + (self.replay.waiting if self.replay is not None else 0)

    def streams_with_room(self) -> list[Stream]:
        """The streams that take more events. An endpoint that fails has events for its next probe, and no more."""
        if self._disabled or self._stopping or self._waiting >= MOST_WAITING:
            return []
        streams = (self.live,) if self.replay is None or self._read_to_end(self.replay) else (self.live, self.replay)
        if self.is_failing:
            return [stream for stream in streams if not stream.read_ahead]
        return [stream for stream in streams if stream.wants_more()]

    def ring(self) -> None:
        """There is something new to do."""
        self._alarm.ring()

    def follow(self, endpoint: Endpoint) -> None:
        """It was changed over REST."""
        was, self.endpoint = self.endpoint, endpoint
        self.live.batch = endpoint.batch
        if endpoint.disabled_at:
            self._disabled = True
        elif was.disabled_at:
            self._disabled = False
            self._begin_anew()
        if was.secret != endpoint.secret:
            self._sealed = None
        self._alarm.ring()

    def _begin_anew(self) -> None:
        """It was enabled: what waits is tried at once."""
        self._health.begin_anew()
        self._hurry()

    def begin_replay(self, order: Replay, at: Cursor, end: Cursor) -> None:
        stream = KeptStream(at, end, order.number)
        self.replay = Stream(stream, (), self.endpoint.batch, self._busy)
        self._replay_gone = False
        self._alarm.ring()

    def replays(self, stream: Stream, at: Cursor, time: int) -> bool:
        """Whether the replay has an event that its stream has come to; `time` is Unix ms."""
        order = self.endpoint.replay
        in_time = order is not None and order.begin <= time < order.end
        return in_time and (stream.end is None or at < stream.end)

    def _read_to_end(self, replay: Stream) -> bool:
        return replay.end is not None and replay.next_read >= replay.end

    def _end_replay(self) -> None:
        if self.replay is not None and self._read_to_end(self.replay) and self.replay.is_empty:
            self.replay = None
            self._replay_gone = True

    # Sending

    def start(self) -> None:
        self._run = asyncio.get_running_loop().create_task(self._send_all(), name=f"webhook {self.endpoint.id}")

    async def stop(self, seconds: float) -> None:
        """Requests under way have so long to be answered."""
        self._stopping = True
        self._alarm.ring()
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send_all(self) -> None:
        while True:
            now = self._parts.wall()
            picked = self._pick(now)
            if picked is None:
                await self._alarm.sleep(self._pause(now))
                continue
            task = asyncio.get_running_loop().create_task(self._send_on(picked, now))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_on(self, picked: tuple[Stream, Request] | None, now: int) -> None:
        """Sends a request, and behind it each time the next one: a task for each would cost more than its signature.
        `now` is Unix ms."""
        try:
            while picked is not None:
                now = await self._send(*picked, now)
                picked = self._pick(now)
        finally:
            self._alarm.ring()

    def _pick(self, now: int) -> tuple[Stream, Request] | None:
        """The next request, which is under way then."""
        picked = self._next(now)
        if picked is not None:
            self._under_way += 1
            self._in_flight += len(picked[1].items)
        return picked

    def _next(self, now: int) -> tuple[Stream, Request] | None:
        if self._disabled or self._stopping or now < self._not_before or self._parts.clock() >= self.lease_until:
            return None
        if self.is_failing:
            return self._probe(now)
        if self._under_way >= WINDOW or self._in_flight >= _MOST_IN_FLIGHT:
            return None
        if self.replay is None:
            request = self.live.take(now)
            return None if request is None else (self.live, request)
        streams = (self.replay, self.live) if self._replay_next else (self.live, self.replay)
        for stream in streams:
            request = stream.take(now)
            if request is not None:
                self._replay_next = stream is self.live
                return stream, request
        self._end_replay()
        return None

    def _probe(self, now: int) -> tuple[Stream, Request] | None:
        """One request, while the endpoint fails."""
        if self._under_way or now < self._health.figures.next_probe:
            return None
        for stream in (self.live, self.replay):
            request = stream.first() if stream is not None else None
            if stream is not None and request is not None:
                return stream, request
        return None

    def _pause(self, now: int) -> float:
        """Seconds until something is due."""
        if self.is_failing:
            times = [self._health.figures.next_probe] if not self._under_way else []
        else:
            streams = (self.live, self.replay)
            times = [due for stream in streams if stream is not None and (due := stream.next_due()) is not None]
        due = max(min(times, default=now + int(_IDLE * 1000)), self._not_before)
        return min(_IDLE, max(0.02, (due - now) / 1000))

    async def _send(self, stream: Stream, request: Request, now: int) -> int:
        """Unix ms at which it was answered."""
        parts, many = self._parts, len(request.items)
        try:
            # Most requests have one event, and a generator costs a part of its signature.
            if not (request.items[0].body if many == 1 else all(item.body for item in request.items)):
                if not await self._read_again(stream, request):
                    return parts.wall()
                now = parts.wall()
            request_id, body = self._content(request.items, now)
            try:
                headers = signed_headers(self._opened(now), request_id, now // 1000, body)
            except SealError as error:
                answer = PostAnswer(0, str(error))
            else:
                answer = await parts.poster.post(self.endpoint.url, body, headers)
            now = parts.wall()
            self._answered(stream, request, answer, now)
            return now
        finally:
            self._under_way -= 1
            self._in_flight -= many
            if stream.is_behind and stream.wants_more():
                stream.is_behind = False  # once is enough: the next page says it again
                parts.on_room()
            if many > 1:
                self._alarm.ring()  # there may be room for several now

    def _content(self, items: Sequence[Item], now: int) -> tuple[str, bytes]:
        """The id of a request, the same at each try, and its body. `now` is Unix ms."""
        if len(items) == 1 and self.endpoint.batch == 1:
            return items[0].id, items[0].body
        ids = " ".join([item.id for item in items])
        request_id = f"batch_{hashlib.sha256(ids.encode()).hexdigest()[:32]}"
        return request_id, batch_body([item.body for item in items], now)

    async def _read_again(self, stream: Stream, request: Request) -> bool:
        """Have the JSON of all its events. False: it is not to be sent now."""
        missing = [item.at for item in request.items if not item.body]
        try:
            found = await self._parts.history.events_at(missing)
        except HistoryError as error:
            log.warning("events for the webhook %s cannot be read: %s", self.endpoint.id, error)
            stream.put_back(request, self._parts.wall() + _READ_AGAIN_MS)
            self._alarm.ring()
            return False
        items: list[Item] = []
        for item in request.items:
            kept = found.get(item.at)
            if item.body:
                items.append(item)
            elif kept is not None and (kind := kind_of(kept.event)):
                message = message_of(kept.event.id) if kept.event.id is not None else b""
                items.append(Item(item.at, kept.event.time, kept.event_id, message, body_of(kind, kept.event)))
        if lost := len(request.items) - len(items):
            self.lose(lost)
        stream.replace(request, items)
        if not items:
            self._finish(stream, request)
            return False
        return True

    def lose(self, many: int) -> None:
        """History has dropped events that it did not send yet."""
        log.error("history has dropped %d events that the webhook %s had not seen yet", many, self.endpoint.id)
        self._health.note_lost(many)

    def _opened(self, now: int) -> Sequence[bytes]:
        """The secrets that sign: for a day after a rotation the old one does, too. Raises SealError."""
        endpoint = self.endpoint
        old = endpoint.old_secret if endpoint.old_until > now else b""
        if self._sealed != (endpoint.secret, old):
            opened = [self._parts.sealer.open(sealed, endpoint.about) for sealed in (endpoint.secret, old) if sealed]
            self._sealed, self._secrets = (endpoint.secret, old), opened
        return self._secrets

    # Answers

    def _answered(self, stream: Stream, request: Request, answer: PostAnswer, now: int) -> None:
        if not answer.failure:
            self._sent += len(request.items)
            was_failing = self.is_failing
            self._health.note_success(now)
            if was_failing:
                log.info("the webhook %s answers again", self.endpoint.id)
                self._hurry()
            self._finish(stream, request)
            return
        self._alarm.ring()
        was_failing = self.is_failing
        self._health.note_failure(answer, now, self._parts.chance())
        if answer.retry_after is not None and holds_all(answer.status):
            self._not_before = max(self._not_before, now + pause_ms(1, self._parts.chance(), answer.retry_after))
        failures = request.failures_now
        others_succeed = self._health.figures.last_success > (request.since or now)
        if is_last(failures) and others_succeed and not request.is_early:
            self._give_up(stream, request)
        else:
            pause = pause_ms(failures, self._parts.chance(), answer.retry_after)
            stream.failed(request, now, now + pause)
        if not was_failing and self.is_failing:
            words = "the webhook %s fails (%s): it is tried now and then, and its events wait"
            log.warning(words, self.endpoint.id, answer.failure)
        if reason := self._health.reason_to_disable(answer, now):
            self._disable(reason)

    def _give_up(self, stream: Stream, request: Request) -> None:
        words = "the webhook %s refused %d events %d times; they are given up"
        log.error(words, self.endpoint.id, len(request.items), request.failures + 1)
        self._health.note_given_up(len(request.items))
        self._finish(stream, request)

    def _disable(self, reason: str) -> None:
        if not self._disabled:
            self._disabled = True
            log.error("the webhook %s (%s) is disabled: %s", self.endpoint.id, self.endpoint.url, reason)
            self._parts.on_disable(self.endpoint.id, reason)

    def _finish(self, stream: Stream, request: Request) -> None:
        freed = stream.done(request)
        self.live.free(freed)
        if self.replay is not None:
            self.replay.free(freed)
            self._end_replay()

    def _hurry(self) -> None:
        self._not_before = 0
        for stream in (self.live, self.replay):
            if stream is not None:
                stream.hurry(self._parts.wall())

    # The state that outlives the process

    def changes(self) -> tuple[StateChange, Callable[[bool], None]] | None:
        """The difference to the state as it was kept last, and what must be called with whether it was written."""
        live = self.live.changes()
        replay = self.replay.changes() if self.replay is not None else None
        gone, figures = self._replay_gone, self._health.figures
        if live is None and replay is None and not gone and figures == self._kept_figures:
            return None
        streams: dict[bool, KeptStream | None] = {True: None} if gone else {}
        parts: list[tuple[bool, Stream, Changes]] = []
        if live is not None:
            parts.append((False, self.live, live))
        if replay is not None and self.replay is not None:
            parts.append((True, self.replay, replay))
        for of, _, changes in parts:
            streams[of] = changes.stream
        put = [(of, request) for of, _, changes in parts for request in changes.put]
        drop = [(of, number) for of, _, changes in parts for number in changes.drop]

        def written(done: bool) -> None:
            for _, stream, changes in parts:
                (stream.kept if done else stream.not_kept)(changes)
            if done:
                self._kept_figures = figures
                if gone:
                    self._replay_gone = False

        return StateChange(streams, put, drop, figures), written

    def figures(self, node: str, waiting: str, unread: int, unread_since: int) -> EndpointFigures:
        """As the API shows them. `unread` are events of history that no stream of it has looked at, since when."""
        found, replay = self._health.figures, self.replay
        times = [time for time in (self.live.oldest(), unread_since) if time]
        return EndpointFigures(
            told_at=self._parts.wall(),
            node=node,
            failing=self.is_failing,
            waiting=waiting,
            backlog=self.live.unanswered + unread,
            oldest=min(times, default=0),
            sent=self._sent,
            failures=found.failures,
            last_success=found.last_success,
            last_failure=found.last_failure,
            last_failure_text=found.last_failure_text,
            next_try=found.next_probe if self.is_failing else 0,
            given_up=found.given_up,
            lost=found.lost,
            replayed=self.live.number,
            replay=replay.number if replay is not None else 0,
        )
