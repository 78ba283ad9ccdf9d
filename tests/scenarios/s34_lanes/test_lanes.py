"""`redis.lanes`: nodes with one lane and with sixteen, and a node whose file says otherwise than the store."""

import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from mta.model.ids import lane_of, parse_message_id
from tests.support.node import Node, running, until
from tests.support.orders import assert_accounted
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

MESSAGES = 40


@pytest.mark.parametrize("lanes", [1, 16])
def test_a_node_uses_all_the_lanes_of_its_store_and_accounts_for_each(lanes: int, tmp_path: Path) -> None:
    sink = SinkThread()
    with running(sink):
        node = Node(tmp_path / "n1", redis__lanes=lanes, delivery__route=sink.address, rules__max_staleness="1s")
        with running(node), node.sender() as client:
            for number in range(MESSAGES):  # each waits for the one before, so each is a batch of its own
                node.send_on(client, f"now-{number}@now.test", ("now",))
                node.send_on(client, f"later-{number}@later.test", ("later",), X_MQ_Delayed="+1h")
            until(lambda: len(sink.to("now.test")) == MESSAGES)
            status, rule = node.call("POST", "/v1/errors?wait=50s", {"code": 554, "tag": "later"})
            assert status == 201
            path = f"/v1/errors/{rule['id']}/statement"
            done = until(lambda: (s := node.call("GET", path)[1])["complete"] and s)
            assert_accounted(done)
            assert done["intercepted"]["queued"] == MESSAGES
            wanted = {"Reception": 2 * MESSAGES, "Delivery": MESSAGES, "Intercepted": MESSAGES}
            until(lambda: wanted.items() <= Counter(one["type"] for one in node.events()).items())
            used = {
                kind: {lane_of(parse_message_id(one["message_id"])) for one in node.events() if one["type"] == kind}
                for kind in ("Reception", "Delivery", "Intercepted")
            }
            assert used["Reception"] == used["Delivery"] | used["Intercepted"] == set(range(lanes))
            assert assert_balanced(node.ready["redis"]).counted[""]["accepted"] == 2 * MESSAGES


def test_a_node_whose_file_says_otherwise_than_the_store_refuses_to_start(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey")
    with running(valkey):
        with running(Node(tmp_path / "first", redis=valkey.url, redis__lanes=16)):
            for lanes, remedy in ((64, "HSET fg:{meta}:settings lanes 64"), (4, "lanes cannot be taken away")):
                other = Node(tmp_path / f"other-{lanes}", "n2", valkey.url, redis__lanes=lanes)
                other.folder.mkdir()
                done = subprocess.run(other.words, capture_output=True, text=True, timeout=60, check=False)
                assert (done.returncode, done.stdout) == (1, "")
                assert f"redis.lanes is {lanes} here and 16 in the store: set redis.lanes = 16" in done.stderr
                assert remedy in done.stderr
                assert "Traceback" not in done.stderr
        valkey.ask("HSET", "fg:{meta}:settings", "lanes", "20")  # as the message says, while no node runs
        node = Node(tmp_path / "first", redis=valkey.url, redis__lanes=20)
        with running(node):
            node.send("a@example.com", X_MQ_Delayed="+1h")
            assert assert_balanced(valkey.url).counted[""]["queued"] == 1


def test_a_reload_with_other_lanes_keeps_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "f.toml"
    settings.write_text("[redis]\nlanes = 2\n")
    node = Node(tmp_path / "n1", workers=1)
    node.words += ["--config", str(settings)]
    with running(node):
        settings.write_text("[redis]\nlanes = 8\n")
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        until(lambda: "settings are kept as they are: redis.lanes is 8 in the file" in node.errors())
        assert node.call("GET", "/healthz")[0] == 200
