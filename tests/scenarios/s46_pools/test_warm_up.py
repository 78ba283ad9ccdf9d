"""Warm-up at the destination: two nodes never exceed the number of a day, and the rest leaves from warm IPs."""

from typing import Any

import pytest

from mta.redis_store import keys
from tests.support.node import until


def tomorrow(cluster: Any, domain: str, ip: str) -> None:
    """For the store it was yesterday when the IP sent."""
    cluster.valkey.ask("HINCRBY", keys.warm_up_key(domain, ip).decode(), "date", "-1")


def warming(cluster: Any, pool: str, domain: str) -> dict[str, Any]:
    limits = cluster.call("GET", f"/v1/limits?pool={pool}&domain={domain}")
    return next((limit for limit in limits["limits"] if limit["name"] == "warmup"), {})


@pytest.mark.usefixtures("one_hour")
def test_an_ip_sends_the_number_of_each_day_and_is_warm_after_the_last(cluster: Any) -> None:
    cluster.pool("cold", ips=["127.0.0.22"], warmup=[3, 6])
    cluster.send("cold.test", 16, "cold")
    until(lambda: warming(cluster, "cold", "cold.test").get("binds"))
    limit = warming(cluster, "cold", "cold.test")
    assert (limit["value"], limit["used"], limit["scope"]) == (3, 3, "ip:127.0.0.22")
    assert limit["setting"] == "pools.cold.warmup"
    assert cluster.call("GET", "/v1/limits?pool=cold&domain=cold.test")["ceiling"] is not None
    assert cluster.arrive("cold.test", 3) == {"127.0.0.22": 3}
    tomorrow(cluster, "cold.test", "127.0.0.22")
    assert cluster.arrive("cold.test", 9) == {"127.0.0.22": 9}
    until(lambda: warming(cluster, "cold", "cold.test").get("used") == 6)
    assert len(cluster.taken("cold.test")) == 9
    tomorrow(cluster, "cold.test", "127.0.0.22")
    assert cluster.arrive("cold.test", 16) == {"127.0.0.22": 16}
    until(lambda: warming(cluster, "cold", "cold.test") == {})


@pytest.mark.usefixtures("one_hour")
def test_mail_beyond_the_number_of_the_day_leaves_from_the_warm_ips(cluster: Any) -> None:
    cluster.pool("mixed", ips=["127.0.0.23", "127.0.0.24"], warmup=[2], warm=["127.0.0.24"])
    cluster.send("mixed.test", 40, "mixed")
    found = cluster.arrive("mixed.test", 40)
    assert 1 <= found["127.0.0.23"] <= 2
    assert found["127.0.0.24"] == 40 - found["127.0.0.23"]
    limit = until(lambda: warming(cluster, "mixed", "mixed.test"), what="the API knows the pool")
    assert not limit["binds"]
