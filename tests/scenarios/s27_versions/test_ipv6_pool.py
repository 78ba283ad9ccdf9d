"""The pool of one IPv6 address, whose name holds colons, under a limit: a killed worker's slots come back."""

import os
import pathlib
import signal
import socket
from collections import Counter

import pytest

from mta.redis_store import keys
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink import HOLD
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

POOL, DOMAIN = "@::1", "slots.test"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")
def test_k16_slots_of_a_dead_worker_of_an_ipv6_pool_are_freed(tmp_path: pathlib.Path):
    valkey, sink = Valkey(tmp_path / "valkey"), SinkThread(host="::1")
    with running(valkey, sink):
        sink.script(".", HOLD)
        node = Node(
            tmp_path / "n1",
            redis=valkey.url,
            delivery__route=f"[::1]:{sink.sink.port}",
            pools__six__ips=["::1"],
            domains=f'{{ "{DOMAIN}" = {{ connections = 2 }} }}',
        )
        with running(node):
            every = [f"m{n}@{DOMAIN}" for n in range(8)]
            node.send(every, ("six",), X_MQ_IP="::1")
            until(lambda: sink.sink.open == 2 and len(sink.sink.received) == 2)
            assert held(valkey) == 2
            assert {queue["pool"] for queue in node.call("GET", "/v1/queues")[1]["queues"]} == {POOL}
            assert_balanced(valkey.url)  # while mail waits in the queue, and is claimed
            caught = {message.recipients[0] for message in sink.sink.received}
            sink.script(".", None)  # for those that come next
            for pid in node.workers():
                os.kill(pid, signal.SIGKILL)
            statement = until(lambda: (found := node.statement("six"))["queued"] == 0 and found)
            assert (statement["delivered"], statement["balanced"]) == (len(every), True)
            assert sink.sink.most_open == 2
            receipts = Counter(message.recipients[0] for message in sink.sink.received)
            assert receipts == {address: 1 + (address in caught) for address in every}
        assert held(valkey) == 0
        assert_balanced(valkey.url)


def held(valkey: Valkey) -> int:
    """Connection slots that sessions own."""
    answer = valkey.ask("HVALS", keys.slots_key(keys.slots_name(DOMAIN, f"domain:{POOL}:{DOMAIN}")).decode())
    return sum(int(line) for line in answer.split(b"\r\n")[2::2] if line)
