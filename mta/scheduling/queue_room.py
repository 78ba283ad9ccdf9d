"""The room that egress has for each queue: how much of it is spoken for, and which lanes wait for more."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from mta.model.mail import QueueKey, QueueShare
from mta.policy.turns import Turns
from mta.scheduling.claim_lanes import ClaimLane, ClaimLanes

_RIPEN, _RIPE = 0.003, 32  # a lane is woken when there is this much room, or after so many seconds with less
_NOBODY: Final = deque[ClaimLane]()


class QueueRoom:
    """Fulfils ports.delivery.Capacity. Room of a queue goes round the shares that wait for it, by weight, and to the
    lane that has waited longest for it with mail of that share."""

    def __init__(self, lanes: ClaimLanes) -> None:
        self._lanes = lanes
        self._asked: dict[QueueKey, int] = {}  # deliveries asked for in claims under way
        # By queue and share: the lanes that have work for which there was no room.
        self._waiting: dict[QueueKey, dict[str, deque[ClaimLane]]] = {}
        self._turns: dict[QueueKey, Turns] = {}  # of queues for which several shares have waited
        self._ripening: dict[QueueKey, asyncio.TimerHandle] = {}
        self._closed = False

    def __contains__(self, queue: QueueKey) -> bool:
        """Whether a lane waits for room of the queue."""
        return queue in self._waiting

    def left(self, queue: QueueKey, room: int) -> int:
        """The part of this room that no claim under way has asked for."""
        return room - self._asked.get(queue, 0)

    def ask(self, queue: QueueKey, most: int) -> None:
        """A claim of up to `most` deliveries is under way."""
        self._asked[queue] = self._asked.get(queue, 0) + most

    def answered(self, queue: QueueKey, most: int) -> None:
        """The claim of up to `most` has come to its end."""
        left = self._asked[queue] - most
        if left:
            self._asked[queue] = left
        else:
            del self._asked[queue]

    def wait(self, of: QueueShare, lane: ClaimLane) -> None:
        """The lane has work of that share of the queue and waits for room."""
        lanes = self._waiting.setdefault(of.queue, {}).setdefault(of.share, deque())
        if lane not in lanes:
            lanes.append(lane)

    def leave(self, of: QueueShare, lane: ClaimLane) -> None:
        """The lane waits no longer: it has claimed, or has no such work any more."""
        shares = self._waiting.get(of.queue)
        if shares is not None and lane in (lanes := shares.get(of.share, _NOBODY)):
            lanes.remove(lane)
            if not lanes:
                del shares[of.share]
                if not shares:
                    del self._waiting[of.queue]

    def is_awaited(self, queue: QueueKey, share: str, lane: ClaimLane) -> bool:
        """Whether the lane waits to be told of room for that share of the queue."""
        shares = self._waiting.get(queue)
        return shares is not None and lane in shares.get(share, _NOBODY)

    def room_for(self, queue: QueueKey, room: Callable[[], int]) -> None:
        if queue not in self._waiting or self._closed:
            return
        timer = self._ripening.get(queue)
        if self.left(queue, room()) >= _RIPE:
            if timer is not None:
                timer.cancel()
            self._wake_first(queue)
        elif timer is None:
            self._ripening[queue] = asyncio.get_running_loop().call_later(_RIPEN, self._wake_first, queue)

    def room_for_new(self) -> None:
        self._lanes.ring_all()

    def close(self) -> None:
        """Wake no lane any more."""
        self._closed = True
        for timer in self._ripening.values():
            timer.cancel()

    def _wake_first(self, queue: QueueKey) -> None:
        self._ripening.pop(queue, None)
        shares = self._waiting.get(queue)
        if shares is None:
            return
        lane = shares[self._turn(queue, shares)][0]
        # It waits anew for what the room is not enough for.
        for share in list(shares):
            self.leave(QueueShare(queue, share), lane)
        lane.alarm.ring()

    def _turn(self, queue: QueueKey, shares: Iterable[str]) -> str:
        """The share whose turn it is."""
        several = list(shares)
        if len(several) == 1:
            self._turns.pop(queue, None)
            return several[0]
        turns = self._turns.setdefault(queue, Turns(self._lanes.weigh))
        share = turns.first(several)
        turns.served(share, 1)
        return share
