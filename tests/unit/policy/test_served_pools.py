"""Which pools nobody serves, judged by what living workers tell."""

import pytest

from mta.model.rules import Head, SessionState
from mta.policy.served_pools import SERVES, unserved, why_it_waits


def worker(*pools: str, dead: bool = False, role: str = "delivery") -> SessionState:
    metrics = {SERVES + pool: 1.0 for pool in pools}
    return SessionState("s", "n1", 1, (role,), Head(0, ""), 1, 0, dead, metrics)


@pytest.mark.parametrize(
    ("sessions", "nobodys"),
    [
        ([], []),
        ([worker("a", dead=True)], []),
        ([worker(role="smtp")], []),
        ([worker()], ["@192.0.2.1", "a"]),
        ([worker("a")], ["@192.0.2.1"]),
        ([worker("a"), worker("@192.0.2.1")], []),
        ([worker("a"), worker("@192.0.2.1", dead=True)], ["@192.0.2.1"]),
    ],
)
def test_i9_a_pool_is_unserved_where_workers_live_and_none_of_them_serves_it(sessions, nobodys):
    known = {str(number): state for number, state in enumerate(sessions)}
    assert unserved(["a", "@192.0.2.1"], known) == nobodys


def test_i9_the_reason_names_the_pool_or_the_address():
    assert "192.0.2.1" in why_it_waits("@192.0.2.1")
    assert "pool gold" in why_it_waits("gold")
