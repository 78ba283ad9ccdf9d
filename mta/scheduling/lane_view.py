"""The dispatcher's view of one lane: when each of its queues is due, and whose turn it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from mta.model.mail import QueueKey
from mta.ports.queueing import ClaimRequest, Due


class LaneView:
    """Queues in the order of their turns: what was served goes to the end, so that no queue starves."""

    __slots__ = ("_due", "forgot", "whole")

    def __init__(self) -> None:
        self._due: dict[QueueKey, int] = {}  # Unix ms at which the queue has work, or earlier
        self.forgot = False  # a queue was emptied since the last look: when it is due next is not known
        self.whole = True  # the last look showed every queue that there is

    def clear(self) -> None:
        self._due.clear()

    def take(self, found: Sequence[Due], most: int) -> bool:
        """Take an agenda with at most `most` queues a pool over; whether it showed all there are."""
        self.forgot = False
        pools: dict[str, int] = {}
        for (pool, _), _ in found:
            pools[pool] = pools.get(pool, 0) + 1
        self.whole = all(count < most for count in pools.values())
        seen = dict(found)
        if self.whole:
            self._due = {queue: seen[queue] for queue in self._due if queue in seen}
        self._due.update(seen)
        return self.whole

    def ready(self, now: int) -> Iterator[QueueKey]:
        """The queues that are due, by turn."""
        return (queue for queue, at in self._due.items() if at <= now)

    def soonest(self, now: int) -> int | None:
        """Milliseconds until the next queue becomes due that is not so yet; None: none is known."""
        later = [at for at in self._due.values() if at > now]
        return min(later) - now if later else None

    def wants(self, now: int, room: Callable[[QueueKey], int], most: int) -> list[ClaimRequest]:
        """The next claim: at most `most` deliveries, shared evenly among the queues that are due and have room."""
        ready: list[tuple[QueueKey, int]] = []
        for queue in self.ready(now):
            free = room(queue)
            if free > 0:
                ready.append((queue, free))
                if len(ready) == most:
                    break
        if not ready:
            return []
        share = most // len(ready)
        shares = [min(free, share) for _, free in ready]
        left = most - sum(shares)
        for at, (_, free) in enumerate(ready):
            if not left:
                break
            more = min(left, free - shares[at])
            shares[at] += more
            left -= more
        return [ClaimRequest(queue, count) for (queue, _), count in zip(ready, shares, strict=True)]

    def served(self, wants: Sequence[ClaimRequest], got: Mapping[QueueKey, int], cut: bool) -> None:
        """A claim was answered: what gave less than was wanted has no more; the rest gets its next turn later.

        `cut`: the answer may have ended at its size, so a short share says nothing.
        """
        for queue, most in wants:
            at = self._due.pop(queue, 0)
            if cut or got.get(queue, 0) >= most:
                self._due[queue] = at
            else:
                self.forgot = True
