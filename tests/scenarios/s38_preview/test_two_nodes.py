"""An order with a bound on two nodes: the node that took it dies, and the other decides it."""

import pathlib
import signal

import psutil

from tests.support.node import Node, running, signal_to, until
from tests.support.node_and_sink import SETTINGS
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


def test_a_hold_is_decided_by_another_node_when_its_own_dies(tmp_path: pathlib.Path) -> None:
    sink, valkey = SinkThread(), Valkey(tmp_path / "valkey")
    with running(sink, valkey):
        sets = SETTINGS | {"delivery__route": sink.address}
        first = Node(tmp_path / "n1", "n1", valkey.url, 1, node__roles=["api", "delivery"], **sets)
        second = Node(tmp_path / "n2", "n2", valkey.url, 1, **sets)
        with running(second, first):
            sink.script("RCPT", "451 4.3.0 later")  # the next attempts are in an hour
            for tag in ("c1", "c2"):
                second.send([f"u{n}@{tag}.test" for n in range(6)], (tag,))
                path = f"/v1/queues?tag={tag}"
                until(lambda path=path: [one["scheduled"] for one in second.call("GET", path)[1]["queues"]] == [6])
            sink.script("RCPT", None)
            assert first.process is not None
            theirs = [first.process.pid, *(child.pid for child in psutil.Process(first.process.pid).children())]
            sweepers = [node.child("mta.runtime.sweeper") for node in (first, second)]
            for sweeper in sweepers:
                signal_to(sweeper, signal.SIGSTOP)
            passes = first.call("POST", "/v1/errors?wait=0", {"code": 554, "tag": "c1", "max_matches": 6})
            fails = first.call("POST", "/v1/errors?wait=0", {"code": 554, "tag": "c2", "max_matches": 5})
            assert (passes[0], fails[0]) == (202, 202)
            for pid in theirs:
                signal_to(pid, signal.SIGKILL)
            first.process.wait(60)
            first.process = None
            signal_to(sweepers[1], signal.SIGCONT)  # its supervisor may have replaced it
            path = f"/v1/errors/{passes[1]['id']}"
            until(lambda: second.call("GET", path)[1].get("bound", {}).get("state") == "passed", what=path)
            path = f"/v1/errors/{fails[1]['id']}"
            until(lambda: second.call("GET", path)[1].get("matched") == 6, what=path)
            until(lambda: second.statement("c2")["queued"] == 6, what="its mail is released")
            second.call("POST", "/v1/queues/retry?wait=50s", {"tag": "c2"})
            until(lambda: second.statement("c2")["delivered"] == 6, what="released mail is delivered")
            until(lambda: second.statement("c1")["intercepted"]["queued"] == 6, what="all of it is ended")
            arrived = sorted(address for message in sink.sink.taken for address in message.recipients)
            assert arrived == [f"u{n}@c2.test" for n in range(6)]
            assert_balanced(second.ready["redis"])
