"""The state of a cluster after its race: receipts, the store's books, statements and log lines."""

import asyncio
from typing import Any, NamedTuple

from tests.races.cluster import Cluster, eventually
from tests.races.destination import Transaction
from tests.races.ledger import Ledger, read_ledger
from tests.races.plan import Campaign
from tests.support.recount import recount

_ENDS = ("Delivery", "Intercepted", "Cancellation")
_JOURNAL = 60.0  # seconds for it to write what it has


class Aftermath(NamedTuple):
    """Nothing in it moves any more."""

    seen: list[Transaction]
    ledger: Ledger
    broken: list[str]  # sentences of the checker, and books that do not balance
    tags: dict[str, dict[str, Any]]  # statements
    log: list[dict[str, Any]]  # of all nodes


async def aftermath(cluster: Cluster) -> Aftermath:
    ledger = await read_ledger(cluster.valkey.url)
    report = await asyncio.to_thread(recount, cluster.valkey.url)

    async def whole_log() -> list[dict[str, Any]] | None:
        """With the last line of each delivery that has ended."""
        found = await cluster.log()
        return found if ledger.ended.keys() <= {line["id"] for line in found if line["type"] in _ENDS} else None

    return Aftermath(
        seen=await asyncio.to_thread(cluster.destination.seen),
        ledger=ledger,
        broken=report.broken + ([] if report.balanced else [f"the books do not balance: {report.counted}"]),
        tags={tag.value: await cluster.call("GET", f"/v1/tags/{tag}") for tag in Campaign},
        log=await eventually(whole_log, _JOURNAL) or await cluster.log(),
    )
