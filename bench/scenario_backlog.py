"""A backlog first: all mail is accepted and waits for one instant at which all of it is due; then it drains."""

import time
from pathlib import Path
from typing import Any

import msgspec

from bench.flow import Flow, Load, calibrate
from bench.log_tail import LogTail
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.usage import settled_memory

_MOST_TO_CALIBRATE = 5_000
_SLACK = 1.25  # of the time that the intake would take at the calibrated rate, which had deliveries beside it
_AT_LEAST = 4.0  # seconds
_JOURNAL_WITHIN = 60.0


def backlog(node: Node, sink: Sink, load: Load, place: Path, say: Say) -> dict[str, Any]:
    """The rate is that of the drain, from the instant until the last receipt. Raises RunVoid."""
    pace = calibrate(node, sink, _short(load), place, say)["intake_rate"]
    before = settled_memory(node.redis)
    log = LogTail(node.log, "Reception")
    due = int(time.time() + load.messages / pace * _SLACK + _AT_LEAST)
    waiting = msgspec.structs.replace(load, source=(*load.source, "--due-at", str(due)))
    with Flow(node, sink, waiting, place, say) as flow:
        deliveries = flow.sent()["accepted"] * load.recipients
        log.until(deliveries, _JOURNAL_WITHIN, say)
        used = settled_memory(node.redis) - before
        left = due - time.time()
        if left < 0 or flow.received():
            raise RunVoid(f"not all was accepted and logged when it was due, but {-left:.1f} s later")
        content = load.messages * load.size
        say(f"{deliveries:,} are queued, {(used - content) / deliveries:,.0f} bytes each besides the content")
        say(f"all are due in {left:.1f} s")
        time.sleep(left)
        found = flow.end()
    del found["accepted_to_delivered_ms"], found["handover_to_receipt_ms"]  # the wait is in them
    seconds = found["last_receipt"] - due
    say(f"drained in {seconds:.1f} s: {found['messages'] / seconds:,.0f} messages/s")
    return found | {
        "rate": round(found["messages"] / seconds, 1),
        "seconds": round(seconds, 3),
        "due_after_s": round(due - found["first_mail"], 1),
        "bytes_per_delivery": round((used - content) / deliveries, 1),
        "bytes_per_delivery_with_content": round(used / deliveries, 1),
    }


def _short(load: Load) -> Load:
    return msgspec.structs.replace(load, messages=min(load.messages, _MOST_TO_CALIBRATE))
