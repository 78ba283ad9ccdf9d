"""One soak from its start to its verdict."""

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.races.cluster import eventually
from tests.races.ledger import read_ledger
from tests.soak import orders
from tests.soak.cluster import Cluster, Strike
from tests.soak.load import Load
from tests.soak.log_marks import read_marks
from tests.soak.plan import KEPT, NODES, Fault, Plan, mails
from tests.soak.verdict import KINDS, Evidence, explanations, findings
from tests.support.recount import recount

_DRAIN = 90.0  # seconds until nothing waits any more, after the last fault
_JOURNALS = 60.0  # seconds for the rest of the log
_EXAMPLES = 10  # of each kind of finding
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_ENDED = re.compile(r"(\S+) \(pid (\d+)\) ended with status (-?\d+)")


async def soak(plan: Plan, folder: Path) -> dict[str, Any]:
    """The result, as `report.write` takes it."""
    async with Cluster(plan, folder) as cluster:
        load = Load([lambda name=name: cluster.nodes[name].smtp for name in NODES], mails(plan))
        begun = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            given = group.create_task(orders.give_all(cluster, plan, begun))
            group.create_task(load.run(plan.seconds))
            for fault in plan.faults:
                group.create_task(_strike(cluster, fault, begun))
        drained_in = await _drain(cluster)
        evidence = await _evidence(cluster, load, given.result())
        return _result(plan, cluster, load, evidence, drained_in)


async def _strike(cluster: Cluster, fault: Fault, begun: float) -> None:
    await asyncio.sleep(max(0.0, begun + fault.at - asyncio.get_running_loop().time()))
    await cluster.strike(fault)


async def _drain(cluster: Cluster) -> float | None:
    """Seconds until nothing waited any more; None: something still does."""
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def at_rest() -> bool:
        return not (await cluster.call("GET", "/v1/queues"))["queues"]

    return round(loop.time() - begun, 1) if await eventually(at_rest, _DRAIN) else None


async def _evidence(cluster: Cluster, load: Load, given: list[orders.Order]) -> Evidence:
    ledger = await read_ledger(cluster.valkey.url)
    report = await asyncio.to_thread(recount, cluster.valkey.url)
    balance = [] if report.balanced else [f"the books do not balance: {report.counted}"]
    asked = {to for told in load.told if not told.accepted for to in told.recipients}
    logs = [node.log for node in cluster.nodes.values()]
    await _journals_at_rest(cluster)
    return Evidence(
        told=load.told,
        seen=await asyncio.to_thread(cluster.destination.seen),
        ledger=ledger,
        orders=given,
        statements={tag: await cluster.call("GET", f"/v1/tags/{tag}") for tag in (KEPT, *(one.tag for one in given))},
        strikes=cluster.strikes,
        broken=report.broken + balance,
        marks=await asyncio.to_thread(read_marks, logs, asked),
    )


async def _journals_at_rest(cluster: Cluster) -> None:
    """Waits until the journals have read every event of the store."""
    lanes = int(cluster.valkey.ask("HGET", "fg:{meta}:settings", "lanes").split(b"\r\n")[1])

    async def written() -> bool:
        return all(cluster.valkey.ask("XLEN", f"fg:{{{lane}}}:events") == b":0\r\n" for lane in range(lanes))

    await eventually(written, _JOURNALS)
    logs = [node.log for node in cluster.nodes.values()]

    async def still() -> bool:
        """Events come from the store to the log by way of the spool."""
        before = [log.stat().st_size for log in logs if log.exists()]
        await asyncio.sleep(1.0)
        return before == [log.stat().st_size for log in logs if log.exists()]

    await eventually(still, _JOURNALS)


def _result(plan: Plan, cluster: Cluster, load: Load, evidence: Evidence, drained_in: float | None) -> dict[str, Any]:
    found = findings(evidence)
    effects = sorted(round(one.effective_at - one.ordered_at) for one in evidence.orders if one.effective_at)
    counts = Counter(finding.kind for finding in found)
    return {
        "seed": plan.seed,
        "seconds": plan.seconds,
        "rate": plan.rate,
        "order_every": plan.order_every,
        "fault_every": plan.fault_every,
        "messages": {**load.counts(), "left_out": load.left_out, "silent": load.silent},
        "deliveries": {
            "accepted": len(evidence.accepted),
            "received": len(evidence.by_delivery),
            "ended": dict(Counter(end.how for end in evidence.ledger.ended.values())),
            "uncertain": len(evidence.ledger.uncertain()),
            "late_outcomes": len(evidence.marks.late),
            "escaped": len(evidence.marks.escaped),
        },
        "orders": {
            "given": len(evidence.orders),
            "effective_ms": {"median": effects[len(effects) // 2], "max": effects[-1]} if effects else None,
            "past_dot": sum(len(one.past_dot) for one in evidence.orders),
        },
        "copies": dict(explanations(evidence)),
        "faults": dict(Counter(strike.what.value for strike in evidence.strikes)),
        "drained_in": drained_in,
        "ended_by_themselves": _ended_by_themselves(cluster, evidence.strikes),
        "tracebacks": dict(Counter(end for node in cluster.nodes.values() for end in _tracebacks(node.errors()))),
        "verdict": {kind: counts[kind] for kind in KINDS},
        "examples": {
            kind: [finding.text for finding in found if finding.kind == kind][:_EXAMPLES]
            for kind in KINDS
            if counts[kind]
        },
        "clean": not found,
    }


def _tracebacks(log: str) -> list[str]:
    """The last line of each traceback: the exception."""
    ends, inside = [], False
    for line in log.splitlines():
        if line.strip().startswith("Traceback (most recent call last)"):
            inside = True
        elif inside and line and not line.startswith((" ", "|", "+")):
            ends.append(_ADDRESS.sub("0x...", line)[:200])
            inside = False
    return ends


def _ended_by_themselves(cluster: Cluster, strikes: list[Strike]) -> list[str]:
    """Processes that no fault has killed, as the supervisors told of them."""
    killed = {strike.pid for strike in strikes}
    return [
        f"{name}: {what} ended with status {status}"
        for name, node in cluster.nodes.items()
        for what, pid, status in _ENDED.findall(node.errors())
        if int(pid) not in killed
    ]
