"""The budget of outgoing connections of one worker: places, the attempts to get a first greeting, and who is next.

A connection holds a place from its greeting on; `delivery.connections` is the number of places. An attempt to reach a
destination that has no connection yet is counted apart from them, so that hosts which accept and stay silent take no
place from others. It keeps one place free for itself for `PROMPT` seconds, since most hosts greet at once. A host that
greets later gets the next free place.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mta.model.ids import MessageId
from mta.model.mail import QueueKey

PROMPT = 0.1  # seconds for which an attempt keeps a place free
MOST_ATTEMPTS = 500  # attempts without a greeting
PATIENCE = 30.0  # seconds after which an attempt, or a connection that got no reply, may have to give way
RESERVE = 4  # one place of so many is kept for destinations without a connection
LATELY = 5.0  # seconds for which a connection that has carried a transaction counts as productive
MOST_SILENT = 5  # connections to a destination that has carried nothing lately (Postfix begins with as many)
SILENT_PACE = 1.0  # seconds between them


class Standing(enum.Enum):
    """Which part of the budget an attempt counts against."""

    PROMPT = "keeps a place free and waits for its greeting"
    SILENT = "waits for its greeting"
    GREETED = "has its greeting and waits for a place"
    PLACED = "has a place"
    OVER = "is over"


class Attempt:
    """One connection on its way. Whoever begins it sets the two callbacks."""

    __slots__ = ("first", "gave_way", "give_way", "host", "ip", "message", "placed", "since", "standing")

    def __init__(self, standing: Standing, now: float, *, first: bool) -> None:
        self.standing = standing
        self.since = now  # seconds; of the greeting, once there is one
        self.first = first  # of a destination without a connection
        self.gave_way = False
        self.host = self.ip = ""  # that it tries now
        self.message: MessageId | None = None  # that waited first when it began
        self.placed: Callable[[], object] = lambda: None  # it has the place that it had to wait for
        self.give_way: Callable[[], object] = lambda: None  # it ends in favour of others


class Idle(Protocol):
    """A connection without a transaction."""

    @property
    def usable(self) -> bool: ...

    def close(self) -> None: ...


class ConnectionBudget:
    """Decides without I/O and without a clock: callers say what happened and when, `pump` and `placed` answer them."""

    def __init__(self, places: int, has_room: Callable[[], None], most_attempts: int = MOST_ATTEMPTS) -> None:
        """`has_room` is called when queues that were refused by `crowded` may be asked about again."""
        self.places = places
        self._reserve = places // RESERVE
        self._has_room = has_room
        self._most_attempts = most_attempts
        self.open = 0  # places taken
        self._prompt = 0  # places kept free for attempts
        self._silent: dict[Attempt, None] = {}  # without a greeting, the oldest first
        self._greeted: deque[Attempt] = deque()  # without a place
        self._waiting: dict[QueueKey, Callable[[], None]] = {}  # queues that may not begin an attempt yet
        self._resting: dict[Idle, None] = {}  # the longest rest first
        self._refused = False
        self._serving = False

    @property
    def free(self) -> int:
        """Places that nobody has and nobody is expected to take."""
        return max(0, self.places - self.open - self._prompt)

    @property
    def attempts(self) -> int:
        """Attempts that count apart from the places."""
        return len(self._silent) + len(self._greeted)

    @property
    def wanting(self) -> int:
        """Destinations without a connection that wait for a place."""
        return len(self._waiting) + len(self._greeted)

    @property
    def busy(self) -> bool:
        return bool(self.open or self._silent or self._greeted)

    @property
    def free_for_more(self) -> int:
        """Places for further connections of destinations that have one: none while others wait, and never the last
        quarter."""
        return 0 if self.wanting else max(0, self.free - self._reserve)

    @property
    def relaxed(self) -> bool:
        """Whether nobody waits, and at least half of the places would be free after one more."""
        return not self.wanting and (self.free - 1) * 2 >= self.places

    # Attempts

    def begin(self, queue: QueueKey, pump: Callable[[], None], now: float) -> Attempt | None:
        """The attempt at the first connection of a queue. None: it waits in line, and `pump` is called in its turn."""
        if self.free and self._may_attempt(now):
            self._waiting.pop(queue, None)
            attempt = Attempt(Standing.PROMPT, now, first=True)
            self._silent[attempt] = None
            self._prompt += 1
            return attempt
        if queue not in self._waiting:
            self._waiting[queue] = pump
            self._let_one_go()
        return None

    def begin_further(self, now: float) -> Attempt | None:
        """Another connection of a queue that has some: it has its place from the beginning."""
        if not self.free_for_more:
            return None
        self.open += 1
        return Attempt(Standing.PLACED, now, first=False)

    def prompt_over(self, attempt: Attempt, now: float) -> None:
        """The host did not greet at once: no place is kept for it any longer."""
        if attempt.standing is Standing.PROMPT:
            attempt.standing = Standing.SILENT
            self._prompt -= 1
            self._serve(now)

    def greeted(self, attempt: Attempt, now: float) -> bool:
        """The host has greeted. False: there is no place yet, `attempt.placed` is called when there is."""
        if attempt.standing is Standing.PROMPT:
            self._prompt -= 1
        elif attempt.standing is not Standing.SILENT:
            return attempt.standing is Standing.PLACED
        del self._silent[attempt]
        attempt.since = now
        if self.free:
            self.open += 1
            attempt.standing = Standing.PLACED
            self._serve(now)  # there is one attempt less
            return True
        attempt.standing = Standing.GREETED
        self._greeted.append(attempt)
        self._let_one_go()
        return False

    def next_host(self, attempt: Attempt, now: float) -> None:
        """The attempt goes on with another host: until that one greets it has no place."""
        if attempt.first and attempt.standing is Standing.PLACED:
            attempt.standing = Standing.SILENT
            attempt.since = now
            self._silent[attempt] = None
            self.open -= 1
            self._serve(now)

    def end(self, attempt: Attempt, now: float) -> None:
        """The attempt came to nothing."""
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
        self._serve(now)

    def release(self, connection: Idle, now: float) -> None:
        """A connection that had a place is gone."""
        self.open -= 1
        self._resting.pop(connection, None)
        self._serve(now)

    def forget(self, queue: QueueKey) -> None:
        """The queue has no mail for a connection any more."""
        if self._waiting.pop(queue, None) is not None:
            self._tell_room()

    def tick(self, now: float) -> None:
        """Attempts may have become old enough to give way."""
        self._serve(now)

    # Connections at rest

    def wakes(self, connection: Idle) -> None:
        """The connection has something to carry again."""
        self._resting.pop(connection, None)

    def rests(self, connection: Idle) -> None:
        """The connection has nothing to carry. While others wait for its place it is closed."""
        if self.wanting and not self.free:
            connection.close()
        else:
            self._resting[connection] = None

    def crowded(self) -> bool:
        """Whether so many queues wait for a place that nothing is to be claimed for another one yet."""
        if self.wanting < self.places:
            return False
        self._refused = True
        return True

    def __repr__(self) -> str:
        return (
            f"<ConnectionBudget open={self.open}/{self.places} attempts={self.attempts} "
            f"waiting={len(self._waiting)} resting={len(self._resting)}>"
        )

    def _may_attempt(self, now: float) -> bool:
        """One more attempt is within its bound; the oldest gives way where it has had its time."""
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

    def _serve(self, now: float) -> None:
        """Give free places away: first to hosts that have greeted, then to the queues in line."""
        if self._serving:
            return
        self._serving = True
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
            self._serving = False
        self._tell_room()

    def _tell_room(self) -> None:
        if self._refused and self.wanting <= self.places // 2:
            self._refused = False
            self._has_room()

    def _let_one_go(self) -> None:
        """Close the connection that has rested longest: its place is wanted."""
        while self._resting and not self.free:
            connection = next(iter(self._resting))
            del self._resting[connection]
            if connection.usable:
                connection.close()
                return


def growth(held: int, productive: int, unserved: int, *, ticked: bool) -> int:
    """How many further connections a destination with `held` (those on their way included) may get. Each productive
    one brings at most one more, so that a host which stops working is not given more of them. `unserved` transactions
    want a connection; with a tick one more is opened while anything waits, so that nothing stays behind a slow reply.
    """
    wanted = max(min(unserved, 2 * productive) - held, 1 if ticked and unserved else 0)
    return max(0, min(wanted, 2 * productive - held))
