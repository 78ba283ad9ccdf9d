"""The budget of outgoing connections of one worker: places, attempts at a first connection, and the line of queues.

A connection holds a place from its greeting on; `delivery.connections` is the number of places. An attempt at the first
connection of a destination holds no place, so that hosts which accept and stay silent take no place from others. It
reserves one place for `PROMPT` seconds, since most hosts greet at once. A host that greets later gets the next free
place. Queues that may not begin an attempt wait in line for one.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mta.model.ids import MessageId
from mta.model.mail import QueueKey

PROMPT = 0.1  # seconds for which an attempt reserves a place
MOST_ATTEMPTS = 500  # attempts without a greeting
PATIENCE = 30.0  # seconds without an answer after which an attempt or a connection may be ended for others
RESERVE_ONE_IN = 4  # one place in 4 is reserved for destinations without a connection
LATELY = 5.0  # seconds after a transaction during which its connection counts as productive
MOST_UNPRODUCTIVE = 5  # connections to a destination without a productive one (Postfix begins with as many)
UNPRODUCTIVE_PACE = 1.0  # seconds from one of these connections to the next


class Standing(enum.Enum):
    """The state of an attempt, and so the part of the budget that it counts against."""

    PROMPT = "reserves a place and waits for its greeting"
    SILENT = "waits for its greeting"
    GREETED = "has its greeting and waits for a place"
    PLACED = "has a place"
    OVER = "is over"


class Attempt:
    """One attempt to open a connection. The opener sets the two callbacks."""

    __slots__ = ("first", "gave_way", "give_way", "host", "ip", "message", "placed", "since", "standing")

    def __init__(self, standing: Standing, now: float, *, first: bool) -> None:
        self.standing = standing
        self.since = now  # seconds: the time at which the attempt began, or of its greeting
        self.first = first  # at the first connection of a destination
        self.gave_way = False
        self.host = self.ip = ""  # the host that the attempt tries now
        self.message: MessageId | None = None  # the message that waited first when the attempt began
        self.placed: Callable[[], object] = lambda: None  # called when it gets the place that it waits for
        self.give_way: Callable[[], object] = lambda: None  # called to end it, since others need its part of the budget


class IdleConnection(Protocol):
    """A connection without a transaction."""

    @property
    def usable(self) -> bool: ...

    def close(self) -> None: ...


class ConnectionBudget:
    """Decides without I/O and without a clock: callers report events with their times. The budget calls `pump` of a
    queue and `placed` of an attempt when their turn comes."""

    def __init__(self, places: int, has_room: Callable[[], None], most_attempts: int = MOST_ATTEMPTS) -> None:
        """The budget calls `has_room` when the line is short again after `line_is_full` was true."""
        self.places = places
        self._reserve = places // RESERVE_ONE_IN
        self._has_room = has_room
        self._most_attempts = most_attempts
        self.open = 0  # places that connections hold
        self._prompt = 0  # places that attempts reserve
        self._silent: dict[Attempt, None] = {}  # without a greeting, the oldest first
        self._greeted: deque[Attempt] = deque()  # without a place
        self._waiting: dict[QueueKey, Callable[[], None]] = {}  # the line: queues that may not begin an attempt yet
        self._idle: dict[IdleConnection, None] = {}  # the one that has been idle longest first
        self._refused = False
        self._giving = False

    @property
    def free(self) -> int:
        """Places that no connection holds and no attempt reserves."""
        return max(0, self.places - self.open - self._prompt)

    @property
    def attempts(self) -> int:
        """Attempts that hold no place."""
        return len(self._silent) + len(self._greeted)

    @property
    def waiting_destinations(self) -> int:
        """Destinations without a connection that wait for a place."""
        return len(self._waiting) + len(self._greeted)

    @property
    def busy(self) -> bool:
        return bool(self.open or self._silent or self._greeted)

    @property
    def free_for_more(self) -> int:
        """Places for further connections of destinations that have one. There are none while other destinations wait,
        and the last quarter is never among them."""
        return 0 if self._waiting or self._greeted else max(0, self.free - self._reserve)

    @property
    def is_half_free(self) -> bool:
        """Whether no destination waits, and at least half of the places would be free after one more connection."""
        return not self.waiting_destinations and (self.free - 1) * 2 >= self.places

    # Attempts

    def begin(self, queue: QueueKey, pump: Callable[[], None], now: float) -> Attempt | None:
        """Begin an attempt at the first connection of a queue. None: the queue waits in line, and the budget calls
        `pump` when its turn comes."""
        if self.free and self._may_attempt(now):
            self._waiting.pop(queue, None)
            attempt = Attempt(Standing.PROMPT, now, first=True)
            self._silent[attempt] = None
            self._prompt += 1
            return attempt
        if queue not in self._waiting:
            self._waiting[queue] = pump
            self._close_longest_idle()
        return None

    def begin_further(self, now: float) -> Attempt | None:
        """Begin an attempt at a further connection. It holds a place from the beginning; None: no place is free."""
        if not self.free_for_more:
            return None
        self.open += 1
        return Attempt(Standing.PLACED, now, first=False)

    def prompt_over(self, attempt: Attempt, now: float) -> None:
        """The host has not greeted within PROMPT: free the place that the attempt reserved."""
        if attempt.standing is Standing.PROMPT:
            attempt.standing = Standing.SILENT
            self._prompt -= 1
            self._give_places(now)

    def greeted(self, attempt: Attempt, now: float) -> bool:
        """The host has greeted. True: the attempt has a place. False: the budget calls `attempt.placed` when it has."""
        if attempt.standing is Standing.PROMPT:
            self._prompt -= 1
        elif attempt.standing is not Standing.SILENT:
            return attempt.standing is Standing.PLACED
        del self._silent[attempt]
        attempt.since = now
        if self.free:
            self.open += 1
            attempt.standing = Standing.PLACED
            self._give_places(now)  # one more attempt may begin
            return True
        attempt.standing = Standing.GREETED
        self._greeted.append(attempt)
        self._close_longest_idle()
        return False

    def next_host(self, attempt: Attempt, now: float) -> None:
        """The attempt goes on with another host, and holds no place until that host greets."""
        if attempt.first and attempt.standing is Standing.PLACED:
            attempt.standing = Standing.SILENT
            attempt.since = now
            self._silent[attempt] = None
            self.open -= 1
            self._give_places(now)

    def end(self, attempt: Attempt, now: float) -> None:
        """The attempt ended without a connection."""
        standing, attempt.standing = attempt.standing, Standing.OVER
        if standing is Standing.OVER:
            return
        self._silent.pop(attempt, None)
        if standing is Standing.PROMPT:
            self._prompt -= 1
        elif standing is Standing.PLACED:
            self.open -= 1
        elif standing is Standing.GREETED:
            self._greeted.remove(attempt)
        self._give_places(now)

    def release(self, connection: IdleConnection, now: float) -> None:
        """A connection was closed, which frees its place."""
        self.open -= 1
        self._idle.pop(connection, None)
        self._give_places(now)

    def leave_line(self, queue: QueueKey) -> None:
        """The queue has no mail that waits for a connection any more."""
        if self._waiting.pop(queue, None) is not None:
            self._report_room()

    def tick(self, now: float) -> None:
        """Called several times a second: attempts may have become old enough to be ended for others."""
        self._give_places(now)

    # Idle connections

    def mark_busy(self, connection: IdleConnection) -> None:
        """The connection begins a transaction."""
        self._idle.pop(connection, None)

    def mark_idle(self, connection: IdleConnection) -> None:
        """The connection has no transaction. Close it if a destination waits for its place."""
        if (self._waiting or self._greeted) and not self.free:
            connection.close()
        else:
            self._idle[connection] = None

    def line_is_full(self) -> bool:
        """Whether so many queues wait for a place that scheduling should claim no deliveries of another one."""
        if self.waiting_destinations < self.places:
            return False
        self._refused = True
        return True

    def __repr__(self) -> str:
        return (
            f"<ConnectionBudget open={self.open}/{self.places} attempts={self.attempts} "
            f"waiting={len(self._waiting)} idle={len(self._idle)}>"
        )

    def _may_attempt(self, now: float) -> bool:
        """Whether one more attempt may begin. At the bound, the oldest attempt is ended if it is older than
        PATIENCE."""
        if self.attempts < self._most_attempts:
            return True
        oldest = next(iter(self._silent), None)
        if oldest is None or now - oldest.since < PATIENCE:
            return False
        del self._silent[oldest]
        if oldest.standing is Standing.PROMPT:
            self._prompt -= 1
        oldest.standing = Standing.OVER
        oldest.gave_way = True
        oldest.give_way()
        return True

    def _give_places(self, now: float) -> None:
        """Give free places to hosts that have greeted, then to the queues in line."""
        if self._giving:
            return
        self._giving = True
        try:
            while self._greeted and self.free:
                attempt = self._greeted.popleft()
                attempt.standing = Standing.PLACED
                self.open += 1
                attempt.placed()
            turns = len(self._waiting)
            while turns and self._waiting and self.free and self._may_attempt(now):
                turns -= 1
                self._waiting.pop(next(iter(self._waiting)))()
        finally:
            self._giving = False
        self._report_room()

    def _report_room(self) -> None:
        if self._refused and self.waiting_destinations <= self.places // 2:
            self._refused = False
            self._has_room()

    def _close_longest_idle(self) -> None:
        """Close the connection that has been idle longest, since a destination waits for its place."""
        while self._idle and not self.free:
            connection = next(iter(self._idle))
            del self._idle[connection]
            if connection.usable:
                connection.close()
                return


def further_connections(held: int, productive: int, unserved: int, *, ticked: bool) -> int:
    """The number of further connections that a destination with `held` connections and attempts may get.

    Each productive connection allows at most one more, so a host that stops answering gets no more of them. `unserved`
    transactions wait for a connection. A tick opens one more while any transaction waits, so that none waits for the
    end of a slow one.
    """
    wanted = max(min(unserved, 2 * productive) - held, 1 if ticked and unserved else 0)
    return max(0, min(wanted, 2 * productive - held))
