"""A log that cannot be written holds its node's spool, and neither mail nor the store."""

import os
import signal
from collections import Counter
from typing import Any

from tests.support.node import until
from tests.support.rest import ask


def metric(node: Any, name: str) -> float:
    lines = ask(node.ready["api"], "GET", "/metrics").body.decode().splitlines()
    return float(next((line for line in lines if line.startswith(f"floodgate_{name}{{")), "0").split()[-1])


def test_mail_goes_on_while_the_log_cannot_be_written_and_the_log_is_complete_afterwards(place: Any):
    node = place.node
    node.send("before@spool.test", ("spool",))
    until(lambda: len(place.log_of("spool")) == 2)
    moved = node.log.with_suffix(".before")
    node.log.rename(moved)
    node.log.mkdir()  # it can be opened by nobody
    try:
        node.send([f"u{n}@spool.test" for n in range(20)], ("spool",))
        place.at_rest("spool", 21, delivered=21)  # in the store nothing is left for the journal
        until(lambda: metric(node, "journal_failures_total") > 0)
        until(lambda: metric(node, "journal_spool_bytes") > 0)
        os.kill(node.child("mta.runtime.journal"), signal.SIGKILL)
        node.send("later@spool.test", ("spool",))
        until(lambda: node.statement("spool")["delivered"] == 22)
    finally:
        node.log.rmdir()
    until(lambda: node.log.exists() and len(place.log_of("spool")) == 42)
    every = [e for e in place.lines(moved.read_bytes()) if "spool" in e.get("tags", ())]
    assert Counter(e["type"] for e in every) == {"Reception": 22, "Delivery": 22}
    assert len({e["event"] for e in every}) == len(every)
    assert "log cannot be written; its events wait in the spool" in node.errors()
