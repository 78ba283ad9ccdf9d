"""A canary order given at once, and the metrics that show it."""

import urllib.request

from mta.model.canaries import CanaryFlight
from mta.model.settings import RedisSettings
from mta.orders.canary import Canary
from mta.redis_store.canary_store import StoredCanaries
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import StoreSession


async def flight_on(url: str, staleness: float = 1.0) -> CanaryFlight | None:
    """One canary now, given as an API process gives it each minute."""
    link = Link(url, RedisSettings())
    await link.open()
    try:
        cluster = ClusterSettings(link)
        await cluster.open(staleness, 4)
        session = StoreSession("n1", "api", ("api",))
        rules = StoredRules(link, session, cluster.lanes, cluster.max_staleness, 1000, 3600.0)
        return await Canary(rules, StoredCanaries(link), "n1").fly()
    finally:
        await link.close()


def figures(api: str) -> dict[str, float]:
    """The values at /metrics of a node, by name and labels."""
    with urllib.request.urlopen(api + "/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for line in lines if line[:1] != "#" for name, _, value in [line.rpartition(" ")]}
