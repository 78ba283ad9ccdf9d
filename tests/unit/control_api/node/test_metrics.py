"""Metrics: what the text says, who may read it, and what becomes of processes that are gone."""

import re

import msgspec
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from mta.model.canaries import CanaryFlight
from mta.model.process_metrics import PROCESS_METRICS
from mta.model.rules import Head
from mta.model.settings import Address, ApiSettings
from mta.model.sweeps import SweepPhase, SweepState
from mta.ports.books import PoolDepth
from mta.ports.journal import JournalState
from mta.ports.orders import OrderFigures
from tests.support.control_api import AT, BEARER, Cluster, app_for, session
from tests.support.sources import ROOT

Samples = dict[str, dict[tuple[str, ...], float]]


def read(text: str) -> Samples:
    """By name and label values without node, role and pid; every family must have its help."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith("."), family.name
        assert family.name.startswith("floodgate_")
        for sample in family.samples:
            values = tuple(v for k, v in sample.labels.items() if k not in ("node", "role", "pid"))
            values = tuple(sample.labels[k] for k in ("node", "pid") if k in sample.labels) + values
            assert values not in found.setdefault(sample.name, {}), "two samples of one name"
            found[sample.name][values] = sample.value
    return found


async def metrics(api: TestClient) -> Samples:
    answer = await api.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return read(await answer.text())


async def test_dropped_opens_and_clicks_are_counted(api: TestClient, cluster: Cluster) -> None:
    cluster.engagement.lost = 3
    assert (await metrics(api))["floodgate_engagement_dropped_total"] == {(): 3.0}


async def test_each_process_says_what_it_did_and_how_far_it_is(api: TestClient, cluster: Cluster) -> None:
    cluster.generation = 7
    told = {"settled:delivered": 5.0, "settled:deferred": 2.0, "intake:accepted": 9.0, "escaped": 1.0, "new": 3.0}
    cluster.states = {
        "a": msgspec.structs.replace(session("a", "n1", 9, generation=4), metrics=told),
        "b": msgspec.structs.replace(session("b", "n2", 5, generation=7), metrics={"settled:delivered": 6.0}),
    }
    found = await metrics(api)
    assert found["floodgate_deliveries_settled_total"] == {
        ("n1", "9", "delivered"): 5.0,
        ("n1", "9", "deferred"): 2.0,
        ("n2", "5", "delivered"): 6.0,
    }
    assert found["floodgate_messages_total"] == {("n1", "9", "accepted"): 9.0}
    assert found["floodgate_escaped_dots_total"] == {("n1", "9"): 1.0}
    assert found["floodgate_rules_generation"] == {(): 7.0}
    assert found["floodgate_rules_generation_confirmed"] == {("n1", "9"): 4.0, ("n2", "5"): 7.0}
    assert found["floodgate_rules_generation_lag"] == {("n1", "9"): 3.0, ("n2", "5"): 0.0}
    assert found["floodgate_rules_confirmation_age_seconds"][("n1", "9")] > 0


async def test_journals_tell_what_they_left_out(api: TestClient, cluster: Cluster) -> None:
    told = {"journal_dropped": 7.0, "journal_undecodable": 1.0, "spool_bytes": 4096.0}
    cluster.journals = [JournalState("n1", 12, 0, told), JournalState("n2", 6, 0, {})]
    found = await metrics(api)
    assert found["floodgate_journal_dropped_total"] == {("n1", "12"): 7.0}
    assert found["floodgate_journal_undecodable_total"] == {("n1", "12"): 1.0}
    assert found["floodgate_journal_spool_bytes"] == {("n1", "12"): 4096.0}


async def test_a_process_that_ended_is_gone_and_one_that_went_on_is_there_once(
    api: TestClient, cluster: Cluster
) -> None:
    old = msgspec.structs.replace(session("a.1", "n1", 9), metrics={"claimed": 5.0}, dead=True)
    cluster.states = {
        "a.1": old,
        "a.2": msgspec.structs.replace(old, id="a.2", metrics={"claimed": 6.0}, dead=False),
        "a.0": msgspec.structs.replace(old, id="a.0", metrics={"claimed": 1.0}, dead=False, confirmed_at=1),
        "b": msgspec.structs.replace(old, id="b", pid=10),
    }
    assert (await metrics(api))["floodgate_deliveries_claimed_total"] == {("n1", "9"): 6.0}


async def test_orders_sweeps_books_and_backlogs(api: TestClient, cluster: Cluster) -> None:
    cluster.figures = OrderFigures(2, 3, 1, 6.5, ((0.1, 2), (5.0, 3)))
    cluster.sweep_states = {
        name: SweepState(name, 1, SweepPhase(state), 10, 4, 0, 0, 0)
        for name, state in (("r1", "running"), ("r2", "done"))
    }
    cluster.totals = {"accepted": 9, "queued": 4, "intercepted:queued": 2, "intercepted:door": 3, "rejected": 7}
    cluster.backlog = 12
    found = await metrics(api)
    buckets = {values[-1]: count for values, count in found["floodgate_order_effective_seconds_bucket"].items()}
    assert buckets == {"0.1": 2.0, "5.0": 3.0, "+Inf": 4.0}
    assert list(found["floodgate_order_effective_seconds_sum"].values()) == [6.5]
    by = {values[-1]: count for values, count in found["floodgate_orders_effective_total"].items()}
    assert by == {"confirmed": 3.0, "time_alone": 1.0}
    assert list(found["floodgate_orders_pending"].values()) == [2.0]
    assert found["floodgate_sweeps"] == {("running",): 1.0, ("done",): 1.0}
    assert found["floodgate_sweep_seen"] == {("r1",): 10.0}, "rules whose sweep is over are not named"
    assert found["floodgate_sweep_matched"] == {("r1",): 4.0}
    books = found["floodgate_books_deliveries"]
    assert (books[("queued",)], books[("intercepted",)], books[("held",)]) == (4.0, 5.0, 0.0)
    assert found["floodgate_books_accepted_total"] == {(): 9.0} == {(): sum(books.values())}
    assert found["floodgate_journal_backlog"] == {("0",): 12.0}


async def test_r9_pools_tell_their_depth_their_age_and_the_replies_they_get(api: TestClient, cluster: Cluster) -> None:
    cluster.depths = {"default": PoolDepth(3, 2, 1, 4, AT), '@2001:db8::1"': PoolDepth(held=5)}
    told = {"replies:delivered|2xx|default": 7.0, "replies:deferred|4xx|@2001:db8::1": 2.0, "replies:odd|one": 1.0}
    cluster.states = {"a": msgspec.structs.replace(session("a", "n1", 9), metrics=told)}
    found = await metrics(api)
    assert found["floodgate_queue_deliveries"] == {
        ("default", "due"): 3.0,
        ("default", "scheduled"): 2.0,
        ("default", "claimed"): 1.0,
        ("default", "held"): 4.0,
        ('@2001:db8::1"', "due"): 0.0,
        ('@2001:db8::1"', "scheduled"): 0.0,
        ('@2001:db8::1"', "claimed"): 0.0,
        ('@2001:db8::1"', "held"): 5.0,
    }
    assert list(found["floodgate_queue_oldest_seconds"]) == [("default",)], "of an empty pool there is none"
    assert found["floodgate_queue_oldest_seconds"][("default",)] > 1000
    assert found["floodgate_queue_measured_age_seconds"][()] < 5
    assert found["floodgate_replies_total"] == {
        ("n1", "9", "delivered", "default", "2xx"): 7.0,
        ("n1", "9", "deferred", "@2001:db8::1", "4xx"): 2.0,
    }


def test_r9_each_metric_is_explained_to_operators() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    names = {f"floodgate_{metric.name}{'_total' if metric.is_counter else ''}" for metric in PROCESS_METRICS}
    source = (ROOT / "control_api" / "node" / "metrics.py").read_text("utf-8")
    names |= {f"floodgate_{name}" for name in re.findall(r'_gauge\(\s*"(\w+)"', source)}
    names |= {f"floodgate_{name}_total" for name in re.findall(r'_counter\(\s*"(\w+)"', source)}
    assert sorted(name for name in names if f"`{name}`" not in page) == []


async def test_open_on_loopback_only_and_only_where_it_is_meant_to_be(cluster: Cluster) -> None:
    outside = Address("0.0.0.0", 8080)
    for settings, status in (
        (ApiSettings(), 200),
        (ApiSettings(metrics_open=False), 401),
        (ApiSettings(listen=outside, allow_plaintext=True), 401),
        (ApiSettings(listen=Address("::1", 8080)), 200),
    ):
        async with TestClient(TestServer(app_for(cluster, api=settings))) as client:
            assert (await client.get("/metrics")).status == status
            assert (await client.get("/metrics", headers=BEARER)).status == 200


async def test_a_store_that_is_away_gives_no_figures(api: TestClient, cluster: Cluster) -> None:
    cluster.away = True
    assert (await api.get("/metrics")).status == 503
    cluster.away = False
    assert cluster.states["s1"].head == Head(0, "c")
    assert (await api.get("/metrics?x=1")).status == 400


async def test_the_last_canary_is_shown_by_its_figures_and_told_of_when_it_was_slow(
    api: TestClient, cluster: Cluster
) -> None:
    assert "floodgate_canary_effective_seconds" not in await metrics(api)
    cluster.canary = CanaryFlight(AT, 0.125, "n1")
    found = await metrics(api)
    assert found["floodgate_canary_effective_seconds"] == {(): 0.125}
    assert found["floodgate_canary_unconfirmed"] == {(): 0}
    assert found["floodgate_canary_age_seconds"][()] > 86400
    assert "canary" not in await (await api.get("/readyz")).text()
    cluster.canary = CanaryFlight(AT, 5.5, "n1", ("n2/smtp+delivery/22",))
    assert (await metrics(api))["floodgate_canary_unconfirmed"] == {(): 1}
    told = await (await api.get("/readyz")).text()
    assert "the last canary order took 5.5 s" in told
    assert "n2" not in told, "it is open to everybody"
