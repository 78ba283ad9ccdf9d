"""How long the list of queues takes over many domains: `python -m tests.measure.queues [DOMAINS]`."""

import asyncio
import pathlib
import sys
import tempfile
import time

from mta.model.settings import RedisSettings
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from tests.support.node import Node, running
from tests.support.stores import Store, message
from tests.support.valkey import Valkey

_AT_ONCE = 100
_HOUR_MS = 3_600_000
_PER_DOMAIN = 3


async def _fill(url: str, domains: int) -> None:
    """Three deliveries wait at each domain, in different lanes, for an hour."""
    link = Link(url, RedisSettings(timeout=10.0))
    try:
        await link.open()
        cluster = ClusterSettings(link)
        await cluster.open(5.0, 4)
        store = Store(link, "fill", cluster, backlog_hard=0, timeout=10.0)
        due_at = int(time.time() * 1000) + _HOUR_MS
        for at in range(0, domains, _AT_ONCE):
            for lane in range(_PER_DOMAIN):
                names = range(at, min(at + _AT_ONCE, domains))
                some = [message(lane, to=(f"a@d{number}.test",), due_at=due_at) for number in names]
                await store.queues.accept(lane, some)
    finally:
        await link.close()


def _timed(node: Node, path: str) -> tuple[float, int, str | None]:
    began = time.perf_counter()
    status, answer = node.call("GET", path)
    assert status == 200, answer
    return time.perf_counter() - began, len(answer["queues"]), answer["cursor"]


def main() -> None:
    domains = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(pathlib.Path(folder) / "valkey")
        with running(valkey):
            node = Node(pathlib.Path(folder) / "n1", redis=valkey.url, delivery__route="127.0.0.1:9")
            with running(node):
                asyncio.run(_fill(valkey.url, domains))
                for size in (100, 1000, 10_000):
                    seconds, count, cursor = _timed(node, f"/v1/queues?limit={size}")
                    print(f"first page of {size}: {count} queues in {seconds * 1000:.0f} ms")
                    whole, total = seconds, count
                    while cursor is not None:
                        seconds, count, cursor = _timed(node, f"/v1/queues?limit={size}&cursor={cursor}")
                        whole, total = whole + seconds, total + count
                    print(f"all pages of {size}: {total} queues in {whole * 1000:.0f} ms")
                seconds, count, _ = _timed(node, "/v1/queues?tag=red")
                print(f"first page of a tag: {count} queues in {seconds * 1000:.0f} ms")


if __name__ == "__main__":
    main()
