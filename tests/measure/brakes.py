"""The cost of brakes in the settle step: `python -m tests.measure.brakes [--tags N]`.

Deliveries with two tags each, that of a campaign and one of their own, are accepted, claimed and settled against an
embedded server of its own: without a brake, with one that watches each tag, and with one that watches the campaign. The
batches take turns. Figures are CPU time per delivery, the median of all batches. A million of tags takes some minutes.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.plan import CAMPAIGN
from mta.model.brakes import Attempted, Brake, Metric
from mta.model.mail import QueueKey
from mta.model.rules import Kind, Rule, Selectors
from mta.model.settings import NodeSettings, Settings
from mta.policy.brakes import Watched
from mta.policy.shaping import Shaping
from mta.ports.queueing import ClaimRequest
from mta.runtime.embedded import EmbeddedServer
from mta.runtime.wiring.opening import open_store
from mta.scheduling.settlement import Terms, decide
from mta.timing.clock import wall_ms
from tests.measure.steps import LANE, Meter, delivered, messages
from tests.support.stores import Store

BATCH = 40
PAUSE = Rule("", Selectors(tag="any"), kind=Kind.PAUSE)
EACH = Brake("each", Metric.HARD_BOUNCE, 0.05, 1000, 600.0, PAUSE)
CASES = {
    "no brake": Watched(),
    "each tag": Watched([EACH], 4),
    "the campaign": Watched([msgspec.structs.replace(EACH, id="one", tag=CAMPAIGN)], 4),
}


async def relay(store: Store, meter: Meter, terms: Terms, name: str, first: int) -> None:
    """One batch, whose deliveries have tags of their own from number `first` on."""
    some = messages(BATCH, 1, 512, 5, 0)
    for number, one in enumerate(some):
        one.tags = (CAMPAIGN, f"user_{first + number}")
    await store.queues.accept(LANE, some)
    wants = [ClaimRequest(QueueKey("default", f"d{domain}.bench.test"), BATCH) for domain in range(5)]
    claimed = await store.queues.claim(LANE, wants, 1 << 24)
    assert len(claimed) == BATCH
    changes = [decide(one, delivered(one), wall_ms(), terms, 0.5) for one in claimed]

    async def settle() -> None:
        watched = CASES[name]
        facts = (Attempted(n, one.tags, one.queue.pool, True, False, "") for n, one in enumerate(changes, 1))
        await store.queues.settle(LANE, changes, watched.counts(facts) if watched else ())

    await meter.of(name, BATCH, settle)


async def measure(tags: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        await server.start()
        try:
            assert server.pid is not None
            settings = Settings(node=NodeSettings(name="n1", data_dir=folder))
            opened = await open_store(settings, server.url, "measure", ("delivery",), asyncio.Event())
            store, meter = Store(opened.link, "measure", opened.cluster), Meter(server.pid)
            terms = Terms("n1", settings.delivery, Shaping(settings))
            for at in range(0, tags, BATCH):
                await relay(store, meter, terms, list(CASES)[at // BATCH % len(CASES)], at)
                if at % (BATCH * 100) == 0:
                    await store.link.command("XTRIM", f"fg:{{{LANE}}}:events", "MAXLEN", 0)
            touched = await store.link.command("ZRANGE", f"fg:{{{LANE}}}:rates", 0, -1)
            figures = {
                name: {"server_us": _median(meter.server[name]), "caller_us": _median(meter.caller[name])}
                for name in CASES
            }
            await store.link.close()
            return {"tags": tags, "settle": figures, "counters": sorted(name.decode() for name in touched)}
        finally:
            await server.stop()


def _median(found: list[float]) -> float:
    return round(statistics.median(found), 2)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.brakes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tags", type=int, default=1_000_000, help="deliveries, each with a tag of its own")
    given = parser.parse_args(argv)
    print(json.dumps(uvloop.run(measure(given.tags)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
