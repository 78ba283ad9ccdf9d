"""The proof that a fleet works as one: orders, a pause, a cancel, statements and the delivery logs of its nodes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.flow import Load, result_of, start_source
from bench.log_tail import LogTail
from bench.orders import Given, account
from bench.plan import WAITING, WAITING_HALF
from bench.processes import RunVoid
from bench.progress import Say
from bench.rest import Rest
from bench.scale_fleet import Fleet, expect

_MESSAGES, _RECIPIENTS = 120, 10  # that wait, and are held, ended and canceled
_WITHIN = 30.0  # seconds for each step
_POLL = 0.05
_REST = b'"waiting_rest"'  # of every other message that waits


async def orders(fleet: Fleet, count: int) -> dict[str, Any]:
    """Orders that match nothing, one after the other, given to the nodes by turns and each removed again."""
    found = []
    rests = [Rest(node.api, node.token, 1) for node in fleet.nodes]
    try:
        for number in range(count):
            rest = rests[number % len(rests)]
            rule = {"code": 554, "extended": "5.7.1", "tag": f"nobody_{number}"}
            put = await rest.call("POST", "/v1/errors", rule)
            if put.status not in (201, 202):
                raise RunVoid(f"order {number} was answered with {put.status} {put.body}")
            removal = await rest.call("DELETE", f"/v1/errors/{put.body['id']}")
            if removal.status not in (200, 202):
                raise RunVoid(f"the removal of order {number} was answered with {removal.status} {removal.body}")
            found.append(Given(put, removal))
    finally:
        for rest in rests:
            await rest.__aexit__(None, None, None)
    return account(found)


def prove(fleet: Fleet, load: Load, place: Path, say: Say) -> dict[str, Any]:
    """Waiting mail is paused, released, ended by tag and canceled one by one; all books agree. Raises RunVoid."""
    first, last = fleet.nodes[0], fleet.nodes[-1]
    tails = {kind: LogTail(fleet.logs, kind) for kind in ("Intercepted", "Cancellation")}
    waiting = msgspec.structs.replace(load, messages=_MESSAGES, size=512, domains=20, source=())
    result_of(start_source(waiting, fleet.smtp, place, "--waiting", str(_RECIPIENTS)))
    whole, half = _MESSAGES * _RECIPIENTS, _MESSAGES * _RECIPIENTS // 2
    expect("queued", last.get(f"/v1/tags/{WAITING}")["queued"], whole)

    pause = _made(first.call("POST", "/v1/pauses", {"tag": WAITING_HALF}))
    _until("held", lambda: last.get(f"/v1/tags/{WAITING}")["held"], half)
    expect("the removal of the pause", last.call("DELETE", f"/v1/pauses/{pause}")[0], 200)
    _until("held after the release", lambda: first.get(f"/v1/tags/{WAITING}")["held"], 0)

    rule = _made(first.call("POST", "/v1/errors", {"code": 554, "extended": "5.7.1", "tag": WAITING_HALF}))
    _until("swept", lambda: last.get(f"/v1/errors/{rule}/statement").get("sweep", {}).get("state"), "done")
    statement = last.get(f"/v1/errors/{rule}/statement")
    expect("matched and balanced", (statement["matched"], statement["balanced"]), (half, True))
    expect("the removal of the rule", last.call("DELETE", f"/v1/errors/{rule}")[0], 200)

    canceled = 0
    for number, message in enumerate(sorted(_waiting_messages(fleet))):
        node = fleet.nodes[number % len(fleet.nodes)]
        status, said = node.call("POST", f"/v1/messages/{message}/cancel")
        expect(f"the cancel of {message}", status, 200)
        canceled += sum(one["status"] == "CANCELED" for one in said["recipients"])
    expect("canceled", canceled, half)
    books = first.get(f"/v1/tags/{WAITING}")
    expect("queued, balanced", (books["queued"], books["balanced"]), (0, True))
    _until("Intercepted lines", lambda: tails["Intercepted"].count(), (half, half))
    _until("Cancellation lines", lambda: tails["Cancellation"].count(), (half, half))
    say(f"{half} held, released and ended by one order, {half} canceled one by one; statements and logs agree")
    return {"held": half, "intercepted": half, "canceled": canceled}


def _made(answer: tuple[int, Any]) -> str:
    """The id of a rule that was just made."""
    status, said = answer
    if status not in (201, 202):
        raise RunVoid(f"a rule was answered with {status} {said}")
    return str(said["id"])


def _until(what: str, found: Callable[[], Any], wanted: Any) -> None:
    """Returns once it is so. Raises RunVoid."""
    deadline = time.monotonic() + _WITHIN
    while (last := found()) != wanted:
        if time.monotonic() > deadline:
            raise RunVoid(f"after {_WITHIN:.0f} s {what} is {last}, not {wanted}")
        time.sleep(_POLL)


def _waiting_messages(fleet: Fleet) -> set[str]:
    """The messages that wait and were not ended, as the delivery logs name them."""
    found = set()
    for log in fleet.logs:
        for raw in log.read_bytes().splitlines():
            if _REST in raw and b'"Reception"' in raw:
                found.add(str(json.loads(raw)["message_id"]))
    return found
