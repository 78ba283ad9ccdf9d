"""The dispatcher's view of one lane: when each of its queues is due, and whose turn it is."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from mta.model.mail import QueueKey, QueueShare
from mta.model.shares import weight_of
from mta.policy.turns import Turns, Weigh
from mta.ports.queueing import ClaimRequest, Due

_Queues = dict[QueueKey, int]  # Unix ms at which the queue has work, or earlier


class LaneView:
    """Turns go round the shares by weight, and in a share round its queues: a queue that was served goes to the end, so
    that neither a share nor a queue starves."""

    __slots__ = ("_due", "_turns", "forgot", "whole")

    def __init__(self, weigh: Weigh = weight_of) -> None:
        self._due: dict[str, _Queues] = {}  # by share, in each in the order of their turns
        self._turns = Turns(weigh)
        self.forgot = False  # a queue was emptied since the last look: when it is due next is not known
        self.whole = True  # the last look showed every queue that there is

    def __len__(self) -> int:
        """The number of queues that are known, each counted once a share."""
        return sum(map(len, self._due.values()))

    def clear(self) -> None:
        self._due.clear()

    def take(self, found: Sequence[Due], most: int) -> bool:
        """Take an agenda with at most `most` queues of a pool's share over; whether it showed all there are."""
        self.forgot = False
        counts: dict[tuple[str, str], int] = {}
        seen: dict[str, _Queues] = {}
        for queue, at, share in found:
            key = queue.pool, share
            counts[key] = counts.get(key, 0) + 1
            seen.setdefault(share, {})[queue] = at
        self.whole = all(count < most for count in counts.values())
        if self.whole:
            known = self._due
            self._due = {share: _kept(known[share], now) if share in known else now for share, now in seen.items()}
        else:
            for share, now in seen.items():
                self._due.setdefault(share, {}).update(now)
        return self.whole

    def ready(self, now: int) -> Iterator[QueueShare]:
        """The queues that are due, by share, in each by turn."""
        for share, queues in self._due.items():
            for queue, at in queues.items():
                if at <= now:
                    yield QueueShare(queue, share)

    def soonest(self, now: int) -> int | None:
        """Milliseconds until the next queue becomes due that is not so yet; None: none is known."""
        later = [at for queues in self._due.values() for at in queues.values() if at > now]
        return min(later) - now if later else None

    def wants(self, now: int, room: Callable[[QueueKey, str], int], most: int) -> list[ClaimRequest]:
        """The next claim: at most `most` deliveries, shared by weight among the shares, and evenly among the queues of
        each, that are due and have room."""
        lines: dict[str, list[tuple[QueueKey, int]]] = {}
        for share, queues in self._due.items():
            if line := _with_room(share, queues, now, room, most):
                lines[share] = line
        if lines and len(self._due) > 1:
            self._turns.first(lines)  # those that do not compete now save up nothing meanwhile
        if len(lines) > 1:
            return self._shared(lines, most)
        return [request for share, line in lines.items() for request in _evenly(share, line, most)]

    def _shared(self, lines: Mapping[str, Sequence[tuple[QueueKey, int]]], most: int) -> list[ClaimRequest]:
        """The same where several shares compete: they have the room of a queue in common."""
        free: dict[QueueKey, int] = {}
        for line in lines.values():
            for queue, room in line:
                free[queue] = max(room, free.get(queue, 0))
        waiting = {share: deque(queue for queue, _ in line) for share, line in lines.items()}
        wanted: dict[QueueShare, int] = {}
        turns = self._turns.plan(waiting)
        while most and turns:
            share = turns.first()
            queues = waiting[share]
            queue = queues.popleft()
            if free[queue]:
                free[queue] -= 1
                most -= 1
                of = QueueShare(queue, share)
                wanted[of] = wanted.get(of, 0) + 1
                queues.append(queue)
                turns.served()
            elif not queues:
                turns.drop()
        return [ClaimRequest(queue, count, share) for (queue, share), count in wanted.items()]

    def served(self, wants: Sequence[ClaimRequest], got: Mapping[QueueShare, int], cut: bool) -> None:
        """A claim was answered: a queue that gave less than was wanted has no more; the rest gets its next turn later.

        `cut`: the answer may have ended at its size, so a short share says nothing.
        """
        for queue, most, share in wants:
            queues = self._due.get(share)
            if queues is None:
                queues = self._due[share] = {}
            at, many = queues.pop(queue, 0), got.get(QueueShare(queue, share), 0)
            if len(self._due) > 1:
                self._turns.served(share, many)
            if cut or many >= most:
                queues[queue] = at
            else:
                self.forgot = True
                if not queues:
                    del self._due[share]


def _kept(known: _Queues, now: _Queues) -> _Queues:
    """The queues that are there now, those that were known in the order of their turns."""
    kept = {queue: now[queue] for queue in known if queue in now}
    kept.update(now)
    return kept


def _with_room(
    share: str, queues: _Queues, now: int, room: Callable[[QueueKey, str], int], most: int
) -> list[tuple[QueueKey, int]]:
    """At most `most` of the queues that are due and have room, with that."""
    found: list[tuple[QueueKey, int]] = []
    for queue, at in queues.items():
        if at <= now and (free := room(queue, share)) > 0:
            found.append((queue, free))
            if len(found) == most:
                break
    return found


def _evenly(share: str, line: Sequence[tuple[QueueKey, int]], most: int) -> list[ClaimRequest]:
    part = most // len(line)
    parts = [min(free, part) for _, free in line]
    left = most - sum(parts)
    for at, (_, free) in enumerate(line):
        if not left:
            break
        more = min(left, free - parts[at])
        parts[at] += more
        left -= more
    return [ClaimRequest(queue, count, share) for (queue, _), count in zip(line, parts, strict=True)]
