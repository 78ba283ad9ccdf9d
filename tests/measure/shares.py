"""How soon a single message of another share leaves beside a deep queue: `python -m tests.measure.shares [--deep N]`.

A node with an embedded store sends to a destination that takes a message in 2 ms, one after the other. One queue gets
N messages (a million by default) through the store's accept step; then single messages to the same pool and domain come
in by SMTP, with a priority and for another tenant. Seconds are from the client's first command to the destination's
answer. Filling a million takes some minutes and 1 GB of memory.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.support.deep_queue import fill
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink

DOT = 0.002
KINDS = {
    "none": {},
    "priority 2": {"X_MQ_Priority": "2"},
    "priority 1": {"X_MQ_Priority": "1"},
    "another tenant": {"X_MQ_Tenant": "small"},
}


def seconds_to_arrive(place: NodeAndSink, name: str, headers: dict[str, str], within: float) -> float | None:
    """None: not within that many seconds."""
    began, address, seen = time.time(), f"{name}@deep.test", len(place.sink.sink.received)
    place.node.send(address, ("single",), **headers)
    while time.time() < began + within:
        some = place.sink.sink.received[seen:]
        found = next((one.dot_at for one in some if one.taken and one.recipients == [address]), None)
        if found:
            return found - began
        seen = max(0, seen + len(some) - 500)
        time.sleep(0.02)
    return None


def measure(deep: int, singles: int, tenant: str) -> dict[str, object]:
    """The deep queue is that of a tenant, "" = of none."""
    with tempfile.TemporaryDirectory() as folder:
        place = NodeAndSink(Path(folder), embedded=True)
        place.sink.script(".", lambda *_: time.sleep(DOT))
        with running(place):
            began = time.time()
            fill(place.node.ready["redis"], "deep.test", deep, "deep", **({"tenant": tenant} if tenant else {}))
            filled = time.time() - began
            until(lambda: len(place.sink.sink.received) > 100, 60.0)
            waits: dict[str, object] = {}
            for kind, headers in KINDS.items():
                if kind == "none" and not tenant:
                    continue  # it is one of the deep queue
                name = kind.replace(" ", "-")
                found = [seconds_to_arrive(place, f"{name}{n}", headers, 30.0) for n in range(singles)]
                waits[kind] = {"each": [round(one, 2) if one else one for one in found]}
            left = place.node.statement("deep")["queued"]
    return {"deep": deep, "tenant": tenant, "filled_in": round(filled, 1), "left": left, "seconds": waits}


def main(words: list[str]) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--deep", type=int, default=1_000_000)
    options.add_argument("--singles", type=int, default=10)
    options.add_argument("--tenant", default="", help="the tenant whose mail is deep")
    chosen = options.parse_args(words)
    print(json.dumps(measure(chosen.deep, chosen.singles, chosen.tenant), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
