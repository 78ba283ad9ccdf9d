"""A sweep whose process is killed is finished by another, and each delivery is ended once."""

import os
import signal
from collections import Counter
from pathlib import Path

from tests.support.node import Node, running, until
from tests.support.orders import assert_accounted
from tests.support.recount import assert_balanced


def test_a_sweep_whose_process_is_killed_is_taken_up_and_ends_each_delivery_once(tmp_path: Path):
    node = Node(tmp_path / "n1", delivery__lease="5s", rules__max_staleness="1s", rules__sweep_rate="100/s")
    with running(node):
        with node.sender() as client:
            for n in range(450):
                tag = "keep" if n % 3 == 2 else "swept"
                node.send_on(client, f"{n}@d{n % 5}.test", (tag,), X_MQ_Delayed="+1h")
        status, rule = node.call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": "swept"})
        assert status == 201
        path = f"/v1/errors/{rule['id']}/statement"
        under_way = until(lambda: (s := node.call("GET", path)[1])["intercepted"]["queued"] > 60 and s)
        assert under_way["complete"] is False
        assert under_way["balanced"] is None
        os.kill(node.child("mta.runtime.sweeper"), signal.SIGKILL)
        done = until(lambda: (s := node.call("GET", path)[1])["complete"] and s)
        assert_accounted(done)
        assert (done["matched"], done["intercepted"]["queued"], done["sweep"]["state"]) == (300, 300, "done")
        assert node.statement("keep")["queued"] == 150
        until(lambda: sum(e["type"] == "Intercepted" for e in node.events()) >= 300)
        ended = Counter(e["id"] for e in node.events() if e["type"] == "Intercepted")
        assert len(ended) == 300
        assert set(ended.values()) == {1}
        assert_balanced(node.ready["redis"])
