"""The lanes as the dispatcher works on them: what wakes each, and what each has seen of its queues."""

from collections.abc import Iterator

from mta.model.mail import QueueShare
from mta.model.shares import weight_of
from mta.policy.turns import Weigh
from mta.scheduling.lane_view import LaneView
from mta.timing.alarm import Alarm
from mta.timing.backoff import Backoff

_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0  # seconds, after trouble with the store


class ClaimLane:
    """The state of one lane's loop; times are of the monotonic clock, in seconds."""

    __slots__ = (
        "alarm",
        "backoff",
        "blocked",
        "checked",
        "look",
        "looked",
        "looked_blocked",
        "looked_deep",
        "number",
        "view",
        "woken",
    )

    def __init__(self, number: int, weigh: Weigh) -> None:
        self.number = number
        self.alarm = Alarm()
        self.view = LaneView(weigh)
        self.look = True  # the agenda may have changed
        self.woken = False  # by a hint: more of the same may follow at once
        self.looked = self.looked_deep = self.looked_blocked = 0.0
        self.checked = 0.0  # when egress was last asked for the room of all queues, also of those it tells about
        self.blocked: dict[QueueShare, float] = {}  # queue -> since when it is due and has no room
        self.backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)


class ClaimLanes:
    """All lanes. Hints wake them, from whichever part of the process knows something."""

    def __init__(self, count: int, weigh: Weigh = weight_of) -> None:
        """`weigh` gives the weight of a share."""
        self.weigh = weigh
        self._lanes = tuple(ClaimLane(number, weigh) for number in range(count))

    def __iter__(self) -> Iterator[ClaimLane]:
        return iter(self._lanes)

    def wake(self, number: int) -> None:
        """A hint that the lane's queues have changed: its agenda is read again."""
        lane = self._lanes[number]
        lane.look = lane.woken = True
        lane.alarm.ring()

    def wake_all(self) -> None:
        for lane in self._lanes:
            self.wake(lane.number)

    def ring_all(self) -> None:
        """Something else than a queue has changed: each lane goes on with what it knows."""
        for lane in self._lanes:
            lane.checked = 0.0
            lane.alarm.ring()
