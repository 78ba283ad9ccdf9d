"""Mail expires in whatever state it waits (D9)."""

import pathlib
import time

from tests.support.node import Node, running, until
from tests.support.sink import HOLD
from tests.support.sink_thread import SinkThread


def test_d9_mail_expires_while_the_only_connection_is_busy(tmp_path: pathlib.Path) -> None:
    sink = SinkThread()
    sink.script(".", HOLD)
    with running(sink):
        sets = {"delivery.route": sink.address, "delivery.connections": 1, "node.drain_timeout": "1s"}
        node = Node(tmp_path, workers=1, **sets)
        with running(node):
            node.send("busy@d9.test")
            until(lambda: sink.sink.received)
            began = time.time()
            soon = ["same@d9.test", "other@elsewhere.test", *[f"deep{n}@d9.test" for n in range(40)]]
            node.send(soon, X_MQ_MaxDeliverTime="+2s")
            node.send("late@d9.test")

            def ends() -> dict[str, dict[str, object]]:
                return {line["recipient"]: line for line in node.events() if line["type"] == "Expiration"}

            until(lambda: {"same@d9.test", "other@elsewhere.test"} <= ends().keys())
            until(lambda: len(ends()) == len(soon))  # also what stands in the store, since there is no room for it
            assert time.time() - began >= 2.0
            assert {line["enhanced"] for line in ends().values()} == {"4.4.7"}
            sink.script(".", None)
            sink.release("250 2.0.0 taken")
            until(lambda: len(sink.sink.taken) == 2)
            assert [m.recipients for m in sink.sink.taken] == [["busy@d9.test"], ["late@d9.test"]]
