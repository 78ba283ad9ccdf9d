"""An order: one change of the rule table, and the sessions that it waits for until it is effective."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from mta.model.rules import Effective, Head, Rule, SessionState

GRACE: Final = 0.5  # seconds beyond S, for clocks that drift
_AHEAD: Final = 0.25  # seconds before the last instant, at which the barrier is raised anyhow

Key = tuple[str, int]  # id of the order and generation


class WaitSet:
    """The sessions below a head, until each has confirmed it, left or died, or the time has stopped it."""

    def __init__(self, head: Head, sessions: Iterable[str], now: float, wall: int, limit: float) -> None:
        """`now` and `wall` (Unix ms) are the time of the order; `limit` seconds later no session acts by an older
        table."""
        self.head = head
        self.waiting = set(sessions)
        self.confirmed: set[str] = set()
        self.deadline = now + limit
        self.effective_by = wall + int(limit * 1000)
        self.emptied_at = 0  # Unix ms, 0 = not yet
        self.emptied = asyncio.Event()  # no session is waited for any more
        self.near = asyncio.Event()  # so, or nearly so by the time alone

    def look(self, sessions: Mapping[str, SessionState], now: float, wall: int) -> None:
        for name in tuple(self.waiting):
            state = sessions.get(name)
            if state is None or state.dead:
                self.waiting.discard(name)
            elif state.head.generation >= self.head.generation:
                self.waiting.discard(name)
                self.confirmed.add(name)
        self.look_at_clock(now, wall)

    def look_at_clock(self, now: float, wall: int) -> None:
        if self.emptied_at:
            return
        if not self.waiting:
            self.emptied_at = wall
        elif now >= self.deadline:
            self.emptied_at = min(wall, self.effective_by)  # the instant itself, not when we looked
        if self.emptied_at:
            self.emptied.set()
        if self.emptied_at or now >= self.deadline - _AHEAD:
            self.near.set()


class Order:
    """A change that is not known to be effective yet."""

    def __init__(
        self,
        rule: Rule,
        wait_set: WaitSet,
        *,
        asked_at: float | None = None,
        before: int = 0,
        created: bool = False,
        removed: bool = False,
        again: Callable[[], Awaitable[Rule | None]] | None = None,
    ) -> None:
        """`asked_at` is None where an earlier process was asked; `before` is the generation of the rule that was
        replaced, 0 = there was none. Of a set, `rule` stands for the set as one rule, and `again` orders it again after
        a failover that lost it; it returns what stands for the set then."""
        self.rule = rule
        self.wait_set = wait_set
        self.asked_at = asked_at
        self.before = before
        self.created = created
        self.removed = removed
        self.again = again
        self.barrier_at = 0  # Unix ms at which the barrier was raised for it, 0 = not yet
        self.effect: Effective | None = None
        self.task: asyncio.Task[Effective] | None = None

    @property
    def head(self) -> Head:
        return self.wait_set.head

    @property
    def key(self) -> Key:
        return self.rule.order_id if not self.removed else self.rule.id, self.head.generation

    def wait_again(self, rule: Rule | None, wait_set: WaitSet) -> None:
        """The change was lost in a failover: wait until the rule that is in the store now is effective; None: until the
        removal is."""
        if rule is None:
            self.removed = True
        else:
            self.rule = rule
        self.wait_set = wait_set
        self.barrier_at = 0
