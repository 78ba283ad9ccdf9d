"""Changes of the rule table: many as fast as they go, or so many a second whatever the answers do."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from bench.processes import Node, RunVoid
from bench.progress import Say
from bench.ranks import percentiles
from bench.rest import Rest
from bench.rule_mix import rule

_TELL_EVERY = 2.0
_IN_FORCE_WITHIN = 300.0
_POLL = 0.2
_NEWEST = 20  # rules whose sweeps are waited for: those of older ones end with theirs or before
_SWEPT = {"state": "done"}  # of a rule that needs no sweep


class Change(NamedTuple):
    """One order to the table; `seconds` from when it was due until its answer."""

    status: int
    seconds: float


async def create(node: Node, rules: int, connections: int, say: Say) -> dict[str, Any]:
    """Creates the rule mix over so many connections, without waiting for the effect of each. Raises RunVoid."""
    start = told = time.monotonic()
    numbers = iter(range(rules))
    made = 0
    newest: deque[str] = deque(maxlen=_NEWEST)

    async def creator(rest: Rest) -> None:
        nonlocal made, told
        for number in numbers:
            answer = await rest.call("POST", "/v1/errors?wait=0", rule(number))
            if answer.status not in (201, 202):
                raise RunVoid(f"rule {number} was answered with {answer.status} {answer.body}")
            made += 1
            newest.append(answer.body["id"])
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                say(f"{made:,} of {rules:,} rules created")

    async with Rest(node.api, node.token, connections) as rest:
        await asyncio.gather(*(creator(rest) for _ in range(connections)))
    created = time.monotonic() - start
    say(f"{rules:,} rules created, {rules / created:,.0f}/s")
    confirmed = await asyncio.to_thread(until_confirmed, node)
    swept = await asyncio.to_thread(until_swept, node, newest)
    say(f"confirmed by all processes {confirmed:.2f} s later, swept {swept:.2f} s after that")
    return {
        "rules": rules,
        "created_per_second": round(rules / created, 1),
        "confirmed_after_s": round(confirmed, 3),
        "swept_after_s": round(confirmed + swept, 3),
    }


def until_confirmed(node: Node) -> float:
    """Seconds until every living process has confirmed the generation that stands. Raises RunVoid."""
    start = time.monotonic()
    while any(worker["lag"] for worker in _workers(node)):
        if time.monotonic() - start > _IN_FORCE_WITHIN:
            raise RunVoid(f"{_IN_FORCE_WITHIN:.0f} s after the last rule not all processes have confirmed it")
        time.sleep(_POLL)
    return time.monotonic() - start


def until_swept(node: Node, rules: Iterable[str]) -> float:
    """Seconds until none of the rules waits for its sweep: nothing of their creation runs on into what comes next."""
    start = time.monotonic()
    for rule_id in rules:
        while node.get(f"/v1/errors/{rule_id}/statement").get("sweep", _SWEPT)["state"] not in ("done", "stopped"):
            if time.monotonic() - start > _IN_FORCE_WITHIN:
                raise RunVoid(f"after {_IN_FORCE_WITHIN:.0f} s the sweep of rule {rule_id} is not done")
            time.sleep(_POLL)
    return time.monotonic() - start


async def change(node: Node, per_second: int, seconds: int, say: Say) -> dict[str, Any]:
    """Creations and removals by turns, each begun when it is due whether or not earlier ones were answered."""
    made: deque[str] = deque()
    found: list[Change] = []

    async def one(rest: Rest, number: int, due: float) -> None:
        if number % 2 and made:
            answer = await rest.call("DELETE", f"/v1/errors/{made.popleft()}")
        else:
            body = {"code": 554, "extended": "5.7.1", "tag": f"nobody_{number}"}
            answer = await rest.call("POST", "/v1/errors", body)
            if answer.status in (201, 202):
                made.append(answer.body["id"])
        found.append(Change(answer.status, time.monotonic() - due))

    async with Rest(node.api, node.token) as rest, asyncio.TaskGroup() as tasks:
        start = time.monotonic()
        for number in range(per_second * seconds):
            due = start + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.create_task(one(rest, number, due))
            if number % (per_second * 5) == 0:
                say(f"{number:,} changes begun, {len(found):,} answered")
    return account(found) | {"all_answered_after_s": round(time.monotonic() - start, 2)}


def account(changes: list[Change]) -> dict[str, Any]:
    """How many changes were effective at their answer (200, 201), only taken (202), or failed; times in ms."""
    statuses = Counter(change.status for change in changes)
    effective = statuses[200] + statuses[201]
    return {
        "changes": len(changes),
        "effective": effective,
        "accepted_only": statuses[202],
        "failed": len(changes) - effective - statuses[202],
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "latency_ms": percentiles([change.seconds for change in changes], 1000.0),
    }


def _workers(node: Node) -> list[dict[str, Any]]:
    """The living processes of the node that match rules."""
    return [worker for worker in node.get("/v1/workers")["workers"] if not worker["dead"]]


def delivering(node: Node) -> dict[int, int]:
    """Process id -> generations behind, of each living worker that delivers."""
    return {worker["pid"]: worker["lag"] for worker in _workers(node) if "delivery" in worker["roles"]}
