"""Tags, queues, workers, health: what the API shows of the cluster."""

import msgspec
import pytest
from aiohttp.test_utils import TestClient
from yarl import URL

from mta.model.rules import Build, Rule, Selectors
from tests.support.control_api import Cluster, counts_of, session


@pytest.mark.parametrize("path", ["/v1/tags/campaign%2Fx", "/v1/tags?tag=campaign/x"])
async def test_the_statement_of_a_tag(api: TestClient, cluster: Cluster, path: str) -> None:
    cluster.tags["campaign/x"] = {"accepted": 9, "delivered": 4, "queued": 2, "intercepted:queued": 3}
    cluster.rules["r"] = Rule("r", Selectors(tag="campaign/x"), 554)
    found = await (await api.get(URL(path, encoded=True))).json()
    assert (found["tag"], found["accepted"], found["delivered"], found["queued"]) == ("campaign/x", 9, 4, 2)
    assert found["intercepted"]["queued"] == 3
    assert found["rules"] == ["r"]
    assert found["balanced"] is True
    assert found["tracked"] is True


async def test_a_tag_never_seen_is_not_tracked(api: TestClient) -> None:
    found = await (await api.get("/v1/tags/nobody")).json()
    assert (found["accepted"], found["tracked"]) == (0, False)


async def test_a_tag_is_required_and_valid(api: TestClient) -> None:
    assert (await api.get("/v1/tags")).status == 400
    assert (await api.get("/v1/tags", params={"tag": "x" * 129})).status == 400
    assert (await api.get("/v1/tags/a%0Ab")).status == 400


async def test_queues_are_sorted_filtered_and_paged(api: TestClient, cluster: Cluster) -> None:
    cluster.queue_counts = [counts_of("b", "y.example"), counts_of("a", "z.example"), counts_of("a", "x.example", 9)]
    first = await (await api.get("/v1/queues?limit=2")).json()
    assert first["queues"][0].pop("oldest") > 365 * 86400, "an age"
    assert first["queues"][0] == {
        "pool": "a",
        "domain": "x.example",
        "site": "x.example",
        "due": 9,
        "scheduled": 2,
        "claimed": 3,
        "held": 0,
        "parked": 0,
        "next_due": "2023-11-14T22:13:20.000Z",
        "rate": 0.0,
        "why": [
            {"reason": "claimed", "count": 3, "text": "a worker delivers it now"},
            {"reason": "due", "count": 9, "text": "due, and no worker has taken it yet"},
            {"reason": "later", "count": 2, "text": "due later: a retry, or a time that the sender asked for"},
        ],
    }
    second = await (await api.get("/v1/queues", params={"cursor": first["cursor"]})).json()
    assert [(queue["pool"], queue["domain"]) for queue in second["queues"]] == [("b", "y.example")]
    assert second["cursor"] is None
    only = await (await api.get("/v1/queues?pool=a&domain=Z.example")).json()
    assert [queue["domain"] for queue in only["queues"]] == ["z.example"]


async def test_workers_show_how_far_behind_they_are(api: TestClient, cluster: Cluster) -> None:
    cluster.generation = 7
    cluster.states = {"b": session("b", "n2", 5, generation=7), "a": session("a", "n1", 9, generation=4, dead=True)}
    found = await (await api.get("/v1/workers")).json()
    assert found["generation"] == 7
    first, second = found["workers"]
    assert (first["name"], first["session"], first["pid"], first["lag"]) == ("n1/smtp+delivery/9", "a", 9, 3)
    assert (first["dead"], second["dead"], second["lag"]) == (True, False, 0)
    assert first["seconds_since_confirm"] > 0
    assert first["confirmed_at"] == "2023-11-14T22:13:20.000Z"


async def test_k15_workers_show_what_they_run_and_which_rule_they_cannot_read(
    api: TestClient, cluster: Cluster
) -> None:
    cluster.builds = {"s1": Build("fg_0a0b0c0d", 2), "s2": Build("fg_11111111", 1, "rule x: unknown field `site`")}
    first, second = (await (await api.get("/v1/workers")).json())["workers"]
    assert (first["library"], first["rule_format"], first["unreadable"]) == ("fg_0a0b0c0d", 2, None)
    assert (second["rule_format"], second["unreadable"]) == (1, "rule x: unknown field `site`")


async def test_k15_who_has_confirmed_nothing_has_no_age_and_who_cannot_read_a_rule_is_not_ready(
    api: TestClient, stranger: TestClient, cluster: Cluster
) -> None:
    cluster.states = {"s": msgspec.structs.replace(session("s", "n1", 1), confirmed_at=0)}
    (worker,) = (await (await api.get("/v1/workers")).json())["workers"]
    assert (worker["confirmed_at"], worker["seconds_since_confirm"]) == (None, None)
    assert "rules_confirmation_age_seconds{" not in await (await api.get("/metrics")).text()
    cluster.builds = {"s": Build("fg_0a0b0c0d", 2, "rule x: unknown field `site`")}
    answer = await stranger.get("/readyz")
    reason = "1 of 1 workers deliver nothing: rule x: unknown field `site`"
    assert (answer.status, (await answer.json())["reason"]) == (503, reason)


async def test_ready_says_why_not(stranger: TestClient, cluster: Cluster) -> None:
    cluster.states = {"s": session("s", "n1", 1, dead=True), "t": session("t", "n2", 2)}
    answer = await stranger.get("/readyz")
    assert answer.status == 503
    assert (await answer.json()) == {"status": "unready", "reason": "0 of 1 workers are there"}
    cluster.away = True
    answer = await stranger.get("/readyz")
    assert (answer.status, (await answer.json())["reason"]) == (503, "the store is away")
    assert (await stranger.get("/healthz")).status == 200


async def test_k5_ready_says_that_the_store_was_emptied_until_that_is_acknowledged(
    api: TestClient, stranger: TestClient, cluster: Cluster
) -> None:
    cluster.states = {"s": session("s", "n1", 1)}
    assert (await stranger.get("/readyz")).status == 200
    cluster.emptied_at = 1_700_000_000_000
    answer = await stranger.get("/readyz")
    reason = "the store was found emptied at 2023-11-14T22:13:20.000Z; POST /v1/store/acknowledge when that is known"
    assert (answer.status, (await answer.json())["reason"]) == (503, reason)
    assert (await stranger.post("/v1/store/acknowledge")).status == 401
    assert await (await api.post("/v1/store/acknowledge")).json() == {"emptied_at": "2023-11-14T22:13:20.000Z"}
    assert (await stranger.get("/readyz")).status == 200
    assert await (await api.post("/v1/store/acknowledge")).json() == {"emptied_at": None}
