"""DKIM keys for the source's mail: made before the load, and the signatures counted after it."""

import asyncio
import re
import time
import urllib.request
from typing import Any, Final

from bench.processes import Node, RunVoid
from bench.progress import Say
from bench.rest import Rest

_DOMAIN: Final = "source.test"  # of the From header that the source writes
_IN_FORCE: Final = 2.0  # seconds until every worker signs with a new key
_TOLD_WITHIN: Final = 5.0  # seconds
_COUNTER: Final = re.compile(r"^floodgate_dkim_signatures_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


async def make_keys(node: Node, algorithms: tuple[str, ...], say: Say) -> dict[str, Any]:
    """A key of each algorithm, which signs at once. Raises RunVoid."""
    async with Rest(node.api, node.token) as rest:
        for algorithm in algorithms:
            body = {"domain": _DOMAIN, "selector": algorithm, "algorithm": algorithm, "state": "active"}
            answer = await rest.call("POST", "/v1/dkim", body)
            if answer.status != 201:
                raise RunVoid(f"a DKIM key was answered with {answer.status} {answer.body}")
    await asyncio.sleep(_IN_FORCE)
    say(f"mail is signed with {' and '.join(algorithms)}")
    return {"algorithms": list(algorithms)}


def all_signed(node: Node, wanted: int) -> bool:
    """Whether the node has made so many signatures; its processes tell their figures once a second."""
    deadline = time.monotonic() + _TOLD_WITHIN
    while _signatures(node) < wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _signatures(node: Node) -> int:
    request = urllib.request.Request(f"{node.api}/metrics", headers={"Authorization": f"Bearer {node.token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return round(sum(map(float, _COUNTER.findall(answer.read().decode()))))
