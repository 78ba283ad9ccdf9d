"""The cost of each atomic step for the server and its caller, per delivery: `python -m tests.measure.steps`.

It calls the store's own code against an embedded server (`appendfsync always`) of its own, one step after the other, so
that nothing else shares the server; the figures are CPU time, the least of several rounds, and hold on a busy machine.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import getrandbits
from typing import Any

import uvloop

from bench.plan import CAMPAIGN
from mta.model.ids import new_message_id
from mta.model.mail import Claimed, NewMessage, QueueKey, Recipient
from mta.model.outcomes import Origin, Outcome, Reply, Verdict
from mta.model.rules import Change, ChangeOp, Head, Rule, Selectors
from mta.model.settings import NodeSettings, Settings
from mta.policy.rule_table import RuleTable
from mta.policy.shaping import Shaping
from mta.ports.queueing import ClaimRequest
from mta.runtime.embedded import EmbeddedServer
from mta.runtime.wiring.opening import open_store
from mta.scheduling.settlement import Terms, decide
from mta.sweeps.sweep_moves import Decider
from mta.timing.clock import wall_ms
from tests.support.stores import Store

LANE = 0
_WEEK = 7 * 86_400_000


class Meter:
    """CPU time of the server and of this process, by name of the step: the least of all rounds, in us per delivery."""

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self.server: dict[str, list[float]] = defaultdict(list)
        self.caller: dict[str, list[float]] = defaultdict(list)

    def _spent(self) -> float:
        """Seconds on a processor, of all threads."""
        return sum(int((task / "schedstat").read_text().split()[0]) for task in self._tasks.iterdir()) / 1e9

    async def of(self, name: str, deliveries: int, act: Callable[[], Awaitable[Any]]) -> Any:
        server, caller = self._spent(), time.process_time()
        answer = await act()
        self.caller[name].append((time.process_time() - caller) / deliveries * 1e6)
        await asyncio.sleep(0.001)  # what it does after its answer is its own, too
        self.server[name].append((self._spent() - server) / deliveries * 1e6)
        return answer

    def least(self) -> dict[str, dict[str, float]]:
        return {
            name: {"server_us": round(min(self.server[name], default=0.0), 2), "caller_us": round(min(found), 2)}
            for name, found in self.caller.items()
        }


def messages(count: int, recipients: int, size: int, domains: int, due_in: int) -> list[NewMessage]:
    """As many messages as the lane takes in one batch."""
    now = wall_ms()
    return [
        NewMessage(
            id=new_message_id(LANE, now),
            sender="bounces@sender.bench.test",
            recipients=tuple(
                Recipient(f"u{number:08d}@d{domain}.bench.test", f"d{domain}.bench.test")
                for number, domain in ((number, (at + number) % domains) for number in range(recipients))
            ),
            pool="default",
            tags=(CAMPAIGN, f"customer_{getrandbits(8)}"),
            content=b"x" * size,
            needs_8bit=False,
            accepted_at=now,
            due_at=now + due_in,
            expires_at=now + due_in + 432_000_000,
            max_attempts=0,
            retries=(),
            client="127.0.0.1",
        )
        for at in range(count)
    ]


def delivered(claimed: Claimed) -> Outcome:
    return Outcome(
        Verdict.DELIVERED,
        Reply(250, "2.0.0", "OK queued as 0123456789"),
        Origin.REMOTE,
        mta="127.0.0.1",
        mx=f"mx.{claimed.queue.domain}",
        remote_ip="127.0.0.1",
        duration_ms=7,
    )


async def relay(store: Store, meter: Meter, batch: int, rounds: int, size: int) -> None:
    """Messages of 4 KiB, one recipient each: accepted, claimed, settled, taken by a journal."""
    settings = Settings(node=NodeSettings(name="n1", data_dir="unused"))
    terms = Terms("n1", settings.delivery, Shaping(settings))
    name = f"of {batch}"
    wants = [ClaimRequest(QueueKey("default", f"d{domain}.bench.test"), batch) for domain in range(5)]
    position = await _forget_events(store)
    for _ in range(rounds):
        await meter.of(f"accept {name}", batch, partial(store.queues.accept, LANE, messages(batch, 1, size, 5, 0)))
        claimed = await meter.of(f"claim {name}", batch, partial(store.queues.claim, LANE, wants, 1 << 24))
        assert len(claimed) == batch
        changes = [decide(one, delivered(one), wall_ms(), terms, 0.5) for one in claimed]
        await meter.of(f"settle {name}", batch, partial(store.queues.settle, LANE, changes))
        position = await _journaled(store, meter, name, batch, position)


async def sweep(store: Store, meter: Meter, mass: int, step: int, undo: bool) -> None:
    """Messages of 512 bytes to 100 recipients each, due in a week, ended by a rule: a page at a time."""
    name = "undo" if undo else "final"
    for _ in range(mass // 1000):
        await store.queues.accept(LANE, messages(10, 100, 512, 20, _WEEK))
    position = await _forget_events(store)
    rule = Rule(f"rule-{name}", Selectors(tag=CAMPAIGN), 554, "5.7.1", "campaign canceled", undo=undo, generation=1)
    table = RuleTable.build(Head(0, "start"), ()).apply([Change(Head(1, "order"), ChangeOp.PUT, rule)])
    decider = Decider("n1", 600_000, wall_ms)
    for queue, share in await store.sweeps.queues(LANE, "default"):
        while True:
            _, page = await meter.of(f"scan {name}", step, partial(store.sweeps.scan, LANE, queue, 0, step, share))
            some = page[:step]
            if len(some) < step:
                break  # the rest of a queue is no whole step
            start = time.process_time()
            ((move, matches),) = decider.decide(table, some).items()
            meter.caller[f"decide {name}"].append((time.process_time() - start) / step * 1e6)
            act = partial(store.sweeps.move, LANE, "", move, 1, matches)
            assert (await meter.of(f"move {name}", step, act))[1] == step
            position = await _journaled(store, meter, name, step, position)


async def _journaled(store: Store, meter: Meter, name: str, deliveries: int, position: str) -> str:
    """The calls of a journal for the events of one step."""
    page = await meter.of(f"events {name}", deliveries, partial(store.outbox.read, LANE, position, 1 << 20))
    position = page.entries[-1].id
    await meter.of(f"trim {name}", deliveries, partial(store.outbox.done, LANE, "measured", position))
    return position


async def _forget_events(store: Store) -> str:
    """As if a journal had taken them; the position behind them."""
    position = await store.outbox.position(LANE)
    assert await store.outbox.lease(LANE, "measured", 3600)
    while entries := (await store.outbox.read(LANE, position, 1 << 20)).entries:
        position = entries[-1].id
        await store.outbox.done(LANE, "measured", position)
    return position


async def measure(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Every step, on a server of its own."""
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        server = EmbeddedServer(Path(folder))
        await server.start()
        try:
            assert server.pid is not None
            settings = Settings(node=NodeSettings(name="n1", data_dir=folder))
            opened = await open_store(settings, server.url, "measure", ("delivery",), asyncio.Event())
            store = Store(opened.link, "measure", opened.cluster)
            for setting in given.set:
                await store.link.command("CONFIG", "SET", *setting.split("=", 1))
            meter = Meter(server.pid)
            for batch in given.batch:
                await relay(store, meter, batch, given.rounds, given.size)
            await sweep(store, meter, given.waiting, given.step, undo=True)
            await sweep(store, meter, given.waiting, given.step, undo=False)
            await store.link.close()
            return meter.least()
        finally:
            await server.stop()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.steps", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=int, action="append", help="messages of a step; 10 and 40 unless given")
    parser.add_argument("--rounds", type=int, default=200, help="of each step of the relay")
    parser.add_argument("--size", type=int, default=4096, help="bytes of a message of the relay")
    parser.add_argument("--waiting", type=int, default=20_000, help="deliveries that wait for the sweep")
    parser.add_argument("--step", type=int, default=100, help="deliveries of one step of the sweep")
    parser.add_argument("--directory", type=Path, default=None, help="where the server's directory is made")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    given = parser.parse_args(argv)
    given.batch = given.batch or [10, 40]
    found = uvloop.run(measure(given))
    for name, cost in found.items():
        print(f"{name:20} server {cost['server_us']:7.2f}  caller {cost['caller_us']:7.2f} us per delivery")
    return 0


if __name__ == "__main__":
    sys.exit(main())
