"""The connection budget: bounds, shares, nobody starves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.egress.connection_budget import PATIENCE, Attempt, ConnectionBudget, Standing, further_connections
from mta.model.mail import QueueKey


class FakeConnection:
    usable = True

    def __init__(self) -> None:
        self.closing = False

    def close(self) -> None:
        self.closing, self.usable = True, False


class Destination:
    """A queue with mail, as an outlet sees the budget."""

    def __init__(self, budget: ConnectionBudget, name: str) -> None:
        self.budget, self.queue = budget, QueueKey("p", name)
        self.attempt: Attempt | None = None
        self.further: list[Attempt] = []
        self.connections: list[FakeConnection] = []
        self.wants = False
        self.turns = 0

    @property
    def held(self) -> int:
        return len(self.connections) + len(self.further)

    def pump(self, now: float = 0.0) -> None:
        self.turns += 1
        self.want(now)

    def want(self, now: float) -> None:
        self.wants = True
        if self.attempt is not None:
            return
        if self.held:
            attempt = self.budget.begin_further(now)
            if attempt is not None:
                self.further.append(attempt)
            return
        self.attempt = self.budget.begin(self.queue, self.pump, now)
        if self.attempt is not None:
            self.attempt.give_way = self.gave_way
            self.attempt.placed = self.placed

    def gave_way(self) -> None:
        self.attempt, self.wants = None, False  # its mail is deferred

    def greet(self, now: float) -> None:
        if self.attempt is not None and self.attempt.standing in (Standing.PROMPT, Standing.SILENT):
            if self.budget.greeted(self.attempt, now):
                self.placed()
        elif self.further:
            self.further.pop()
            self.connections.append(FakeConnection())

    def placed(self) -> None:
        self.attempt = None
        self.connections.append(FakeConnection())

    def fail(self, now: float) -> None:
        attempt, self.attempt = self.attempt, None
        if attempt is None and self.further:
            attempt = self.further.pop()
        if attempt is not None:
            self.wants = False
            self.budget.end(attempt, now)

    def close(self, now: float) -> None:
        if self.connections:
            self.budget.release(self.connections.pop(), now)
            if self.wants:
                self.want(now)

    def rest(self) -> None:
        self.wants = False
        self.budget.leave_line(self.queue)
        for connection in self.connections:
            if not connection.closing:
                self.budget.mark_idle(connection)


OPERATIONS = ("want", "greet", "fail", "close", "slow", "rest", "later")


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 15)), max_size=150),
)
def test_bounds_hold_and_no_place_is_left_while_somebody_waits(
    places: int, most: int, story: list[tuple[str, int]]
) -> None:
    budget = ConnectionBudget(places, lambda: None, most)
    destinations = [Destination(budget, f"d{n}.test") for n in range(16)]
    now = 0.0
    for operation, number in story:
        one = destinations[number]
        if operation == "later":
            now += number * 10
            budget.tick(now)
        elif operation == "slow":
            if one.attempt is not None:
                budget.prompt_over(one.attempt, now)
        elif operation == "rest":
            one.rest()
        else:
            getattr(one, operation)(now)
        assert budget.open == sum(d.held for d in destinations) <= places
        assert budget.attempts == sum(d.attempt is not None for d in destinations) <= most
        assert all(d.held <= max(1, places - places // 4) for d in destinations), "a share, and never all"
        waiting = [d for d in destinations if d.wants and not d.held and d.attempt is None]
        silent = [
            d.attempt for d in destinations if d.attempt is not None and d.attempt.standing is not Standing.GREETED
        ]
        full = budget.attempts == most and not any(now - a.since >= PATIENCE for a in silent)
        assert not budget.free or not waiting or full or operation == "later", "a place is free and somebody waits"
        assert not budget.free or not any(a.standing is Standing.GREETED for d in destinations if (a := d.attempt))


def test_a_greeting_lets_the_next_attempt_begin_where_only_so_many_may() -> None:
    budget = ConnectionBudget(2, lambda: None, 1)
    first, second = Destination(budget, "a.test"), Destination(budget, "b.test")
    first.want(0.0)
    second.want(0.0)
    assert second.attempt is None
    first.greet(0.0)
    assert second.attempt is not None


@given(st.integers(1, 20), st.integers(2, 60))
def test_everybody_gets_a_turn_in_the_order_in_which_they_came(places: int, number: int) -> None:
    budget = ConnectionBudget(places, lambda: None)
    destinations = [Destination(budget, f"d{n}.test") for n in range(number)]
    served: list[int] = []
    for one in destinations:
        one.want(0.0)
    while len(served) < number:
        for at, one in enumerate(destinations):
            if one.attempt is not None:
                one.greet(0.0)
                served.append(at)
        for one in destinations:
            if one.connections:
                one.wants = False
                one.close(0.0)
    assert served == sorted(served)
    assert not budget.busy


def test_a_host_that_does_not_greet_keeps_no_place() -> None:
    budget = ConnectionBudget(2, lambda: None)
    silent = [Destination(budget, f"silent{n}.test") for n in range(2)]
    other = Destination(budget, "other.test")
    for one in (*silent, other):
        one.want(0.0)
    assert other.attempt is None
    assert silent[0].attempt is not None
    budget.prompt_over(silent[0].attempt, 0.1)
    assert other.attempt is not None
    other.greet(0.2)
    assert (budget.open, budget.attempts) == (1, 2)


def test_a_host_that_greets_late_gets_the_next_place_before_the_queues_in_line() -> None:
    budget = ConnectionBudget(1, lambda: None)
    late, busy, third = (Destination(budget, f"{name}.test") for name in ("late", "busy", "third"))
    late.want(0.0)
    assert late.attempt is not None
    budget.prompt_over(late.attempt, 0.1)
    busy.want(0.1)
    busy.greet(0.1)
    third.want(0.2)
    late.greet(5.0)
    assert (budget.open, len(late.connections), third.attempt) == (1, 0, None)
    busy.wants = False
    busy.close(6.0)
    assert (budget.open, len(late.connections), third.attempt) == (1, 1, None)


def test_beyond_its_bound_the_oldest_attempt_of_more_than_30_s_gives_way() -> None:
    budget = ConnectionBudget(10, lambda: None, most_attempts=3)
    destinations = [Destination(budget, f"d{n}.test") for n in range(4)]
    for one in destinations:
        one.want(0.0)
    assert destinations[3].attempt is None
    budget.tick(PATIENCE - 1)
    assert destinations[3].attempt is None
    budget.tick(PATIENCE)
    assert destinations[3].attempt is not None
    assert destinations[0].attempt is None
    assert budget.attempts == 3


def test_a_connection_at_rest_is_let_go_for_a_destination_without_one() -> None:
    budget = ConnectionBudget(1, lambda: None)
    one, other = Destination(budget, "one.test"), Destination(budget, "other.test")
    one.want(0.0)
    one.greet(0.0)
    one.rest()
    other.want(0.0)
    assert one.connections[0].closing
    one.close(0.0)
    assert other.attempt is not None


def test_what_carries_nothing_may_take_half_of_the_places_and_none_that_others_wait_for() -> None:
    budget = ConnectionBudget(20, lambda: None)
    while budget.is_half_free:
        assert budget.begin_further(0.0) is not None
    assert budget.open == 10
    budget = ConnectionBudget(20, lambda: None, most_attempts=0)
    assert budget.is_half_free
    Destination(budget, "waits.test").want(0.0)
    assert not budget.is_half_free


def test_the_next_host_of_an_attempt_has_no_place_before_it_greets() -> None:
    budget = ConnectionBudget(1, lambda: None)
    attempt = budget.begin(QueueKey("p", "a.test"), lambda: None, 0.0)
    assert attempt is not None
    assert budget.greeted(attempt, 0.0)
    assert budget.open == 1
    budget.next_host(attempt, 1.0)
    assert (budget.open, attempt.standing) == (0, Standing.SILENT)
    budget.end(attempt, 2.0)
    assert not budget.busy


@pytest.mark.parametrize(
    ("held", "productive", "unserved", "ticked", "more"),
    [
        (1, 0, 50, False, 0),  # it has carried nothing yet
        (1, 0, 50, True, 0),
        (1, 1, 50, False, 1),
        (4, 4, 50, False, 4),  # at most twice as many
        (4, 4, 6, False, 2),  # no more than there is mail
        (8, 4, 50, False, 0),  # half of them carry nothing
        (10, 2, 50, True, 0),
        (2, 2, 1, False, 0),
        (2, 2, 1, True, 1),  # with time, nothing waits behind a slow reply
        (2, 2, 0, True, 0),
        (0, 5, 3, False, 3),  # the host closes each connection after one message
    ],
)
def test_growth(held: int, productive: int, unserved: int, ticked: bool, more: int) -> None:
    assert further_connections(held, productive, unserved, ticked=ticked) == more
