"""The audit beyond the last events of the store: history goes on with the older ones (A12)."""

import pytest
from aiohttp.test_utils import TestClient

from mta.model.actor import Actor, ActorKind
from mta.model.audit import Deed, deed_event
from mta.model.errors import HistoryAway, HistoryElsewhere, HistoryOff
from mta.ports.audit import NotedEvent
from tests.support.control_api import AT, Cluster

ADMIN = Actor(ActorKind.TOKEN, "admin", "192.0.2.1")


def noted(entry: str, of: str) -> NotedEvent:
    return NotedEvent(entry, f"rules.1.{entry}.0", deed_event(ADMIN, Deed("token.create", of), AT))


@pytest.fixture
def kept(cluster: Cluster) -> Cluster:
    """The store has the entries 1-0 to 3-0, history 1-0 and older ones."""
    cluster.deeds += [(ADMIN, Deed("token.create", of)) for of in ("d", "e", "f")]
    cluster.history.noted += [noted("0-7", "b"), noted("1-0", "d"), noted("0-5", "a"), noted("0-9", "c")]
    return cluster


async def names(api: TestClient, query: str = "") -> tuple[list[str], dict[str, str]]:
    """Over all pages, and the last answer."""
    found: list[str] = []
    cursor = ""
    while True:
        answer = await (await api.get(f"/v1/audit?limit=2{query}{cursor}")).json()
        found += [entry["of"] for entry in answer["entries"]]
        if answer["cursor"] is None:
            return found, answer
        cursor = f"&cursor={answer['cursor']}"


async def test_a12_history_has_the_orders_that_the_store_has_dropped(api: TestClient, kept: Cluster) -> None:
    found, answer = await names(api)
    assert found == ["f", "e", "d", "c", "b", "a"]
    assert "older_missing" not in answer
    assert (await names(api, "&of=a"))[0] == ["a"]
    assert (await names(api, "&by=nobody"))[0] == []


@pytest.mark.parametrize(
    ("error", "is_said"),
    [(HistoryOff(), False), (HistoryElsewhere("n9"), True), (HistoryAway("the disk is gone"), True)],
)
async def test_a12_an_audit_that_is_not_whole_says_so(
    api: TestClient, kept: Cluster, error: Exception, is_said: bool
) -> None:
    def fail() -> None:
        raise error

    kept.history.reach = fail
    found, answer = await names(api)
    assert found == ["f", "e", "d"]
    assert answer.get("older_missing") == (str(error) if is_said else None)


async def test_an_audit_that_begins_or_ends_at_a_time_reads_no_more_than_that(api: TestClient, kept: Cluster) -> None:
    since = AT + 2 * 3_600_000
    kept.deeds.clear()
    kept.history.noted = [noted(f"{since + n}-0", str(n)) for n in range(3)] + [noted("5-0", "old")]
    assert (await names(api, "&until=2001-01-01T00:00:00Z"))[0] == []
    asked = []
    kept.history.reach = lambda: asked.append(1)
    assert (await names(api, "&from=2100-01-01T00:00:00Z"))[0] == []
    assert len(asked) == 1
