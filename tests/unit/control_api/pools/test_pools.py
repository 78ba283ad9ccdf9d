"""The pools of the cluster over REST."""

from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient

from mta.model.limit_use import WarmUp
from mta.model.pools import PoolSettings, SharedPool
from tests.support.control_api import Cluster


def follow(cluster: Cluster, number: int, *pools: str) -> None:
    """Every process has put that change in force, and serves these pools."""
    metrics = {"pools_change": float(number), **{f"serves:{pool}": 1.0 for pool in pools}}
    cluster.states = {name: msgspec.structs.replace(state, metrics=metrics) for name, state in cluster.states.items()}


async def ask(api: TestClient, method: str, path: str, want: int, body: Any = None, **more: Any) -> Any:
    answer = await api.request(method, path, json=body, **more)
    found = await answer.json()
    assert answer.status == want, found
    return found


async def test_a_pool_is_made_replaced_and_removed_with_an_entry_in_the_audit(
    api: TestClient, cluster: Cluster
) -> None:
    follow(cluster, 9, "news")
    body = {"ips": ["192.0.2.7", "2001:DB8:0::1"], "weights": {"192.0.2.7": 3}}
    made = await ask(api, "PUT", "/v1/pools/news", 201, body)
    assert (made["ips"], made["weights"]) == (["192.0.2.7", "2001:db8::1"], {"192.0.2.7": 3})
    assert (made["in_force"], made["nodes"], made["warnings"]) == (True, ["n1", "n2"], [])
    await ask(api, "PUT", "/v1/pools/news", 200, {"ips": ["192.0.2.7"]})
    assert cluster.pools.pools == {"news": SharedPool(ips=("192.0.2.7",))}
    await ask(api, "DELETE", "/v1/pools/news", 200)
    assert cluster.pools.pools == {}
    await ask(api, "DELETE", "/v1/pools/news", 404)
    assert [deed.action for _, deed in cluster.deeds] == ["pools.put", "pools.put", "pools.remove"]
    assert cluster.deeds[1][1].before["weights"] == {"192.0.2.7": 3}


async def test_a_change_that_a_process_does_not_follow_yet_is_not_called_in_force(
    api: TestClient, cluster: Cluster
) -> None:
    follow(cluster, 0)
    made = await ask(api, "PUT", "/v1/pools/news?wait=0s", 201, {"ips": ["192.0.2.7"]})
    assert not made["in_force"]
    assert any("not every process" in warning for warning in made["warnings"])
    assert made["waits"] in made["warnings"]


async def test_a_client_of_mailerq_makes_a_pool_and_its_ips_by_forms(api: TestClient, cluster: Cluster) -> None:
    follow(cluster, 9, "news")
    assert (await api.post("/v1/pools", data={"name": "news", "description": "letters"})).status == 201
    assert (await api.post("/v1/poolips", data={"name": "news", "ip": "192.0.2.7"})).status == 201
    assert (await api.post("/v1/poolips", data={"name": "news", "ip": "192.0.2.7"})).status == 200
    assert (await api.post("/v1/pools", data={"name": "news", "description": "mail"})).status == 200
    assert cluster.pools.pools == {"news": SharedPool(description="mail", ips=("192.0.2.7",))}
    listed = await ask(api, "GET", "/v1/poolips?name=news", 200)
    assert listed == {"poolips": [{"ip": "192.0.2.7", "name": "news", "layer": "cluster", "weight": 1}]}
    await ask(api, "DELETE", "/v1/poolips", 200, {"name": "news", "ip": "192.0.2.7"})
    await ask(api, "DELETE", "/v1/poolips?name=news&ip=192.0.2.7", 404)
    await ask(api, "DELETE", "/v1/pools?name=news", 200)
    refused = await ask(api, "DELETE", "/v1/pools", 400)
    assert refused["error"]["field"] == "name"


async def test_changes_of_others_are_not_lost(api: TestClient, cluster: Cluster) -> None:
    follow(cluster, 99)
    cluster.pools.races = 3
    await ask(api, "PUT", "/v1/pools/news", 201, {"ips": ["192.0.2.7"]})
    assert len(cluster.deeds) == 1
    cluster.pools.races = 10
    await ask(api, "PUT", "/v1/pools/news", 409, {"ips": ["192.0.2.8"]})


async def test_a_pool_of_the_file_never_comes_to_have_no_ips(api: TestClient, cluster: Cluster) -> None:
    follow(cluster, 99)
    for method, path, body in (
        ("PUT", "/v1/pools/default", {}),
        ("POST", "/v1/pools", {"name": "default", "ips": []}),
    ):
        assert (await ask(api, method, path, 409, body))["error"]["field"] == "ips"
    made = await ask(api, "POST", "/v1/pools", 201, {"name": "default", "ehlo": "a.example.com"})
    assert (made["ips"], made["ehlo"]) == (["192.0.2.1"], "a.example.com")
    assert (await ask(api, "POST", "/v1/pools", 200, {"name": "default", "ehlo": ""})).get("ehlo") is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ips": ["192.0.2.300"]}, "ips"),
        ({"ips": ["192.0.2.7", "192.0.2.7"]}, "ips"),
        ({"ips": ["192.0.2.7"], "weights": {"192.0.2.8": 1}}, 'weights."192.0.2.8"'),
        ({"ips": ["192.0.2.7"], "weights": {"192.0.2.7": 0}}, 'weights."192.0.2.7"'),
        ({"weights": 3}, "weights"),
        ({"ehlo": "a b"}, "ehlo"),
        ({"warmup": [50]}, "warmup"),
        ({"ips": ["192.0.2.7"], "warmup": [0]}, "warmup"),
        ({"ips": ["192.0.2.7"], "warm": ["192.0.2.8"]}, "warm"),
        ({"ip": "192.0.2.7"}, "ip"),
    ],
)
async def test_bad_input_names_the_field(api: TestClient, cluster: Cluster, body: Any, field: str) -> None:
    assert (await ask(api, "PUT", "/v1/pools/news", 400, body))["error"]["field"] == field
    assert cluster.pools.pools == {}


async def test_an_ip_belongs_to_one_pool(api: TestClient, cluster: Cluster) -> None:
    follow(cluster, 99)
    cluster.pools.pools = {"a": SharedPool(ips=("192.0.2.7",))}
    assert "pool a" in (await ask(api, "PUT", "/v1/pools/b", 409, {"ips": ["192.0.2.7"]}))["error"]["message"]
    made = await ask(api, "PUT", "/v1/pools/b", 201, {"ips": ["192.0.2.1"]})
    assert any("pool default of the settings file" in warning for warning in made["warnings"])


async def test_readyz_names_the_pools_that_the_file_has_too(api: TestClient, cluster: Cluster) -> None:
    cluster.pools.pools = {"default": SharedPool(ips=("192.0.2.7",))}
    answer = await (await api.get("/readyz")).json()
    assert any("[pools.default]" in warning for warning in answer["warnings"])
    assert PoolSettings(ips=("192.0.2.1",)) != SharedPool(ips=("192.0.2.1",))


async def test_the_limits_of_a_queue_name_the_day_of_each_ip(api: TestClient, cluster: Cluster) -> None:
    cluster.pools.pools = {"news": SharedPool(ips=("192.0.2.7", "192.0.2.8"), warmup=(50,), warm=("192.0.2.8",))}
    cluster.warm_ups = {("example.com", "192.0.2.7"): WarmUp(1, 10**6, 20, 20)}
    found = await ask(api, "GET", "/v1/limits?pool=news&domain=example.com", 200)
    (limit,) = [one for one in found["limits"] if one["name"] == "warmup"]
    assert (limit["value"], limit["used"], limit["scope"], limit["binds"]) == (50, 20, "ip:192.0.2.7", False)
    alone = await ask(api, "GET", "/v1/limits?pool=@192.0.2.8&domain=example.com", 200)
    assert alone["limits"] == []
