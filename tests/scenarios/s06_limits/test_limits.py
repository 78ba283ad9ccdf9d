import os
import pathlib
import signal
import time
from collections import Counter
from itertools import combinations

from mta.redis_store import keys
from tests.support.node import Node, running, until
from tests.support.recount import recount
from tests.support.sink import HOLD, STALL
from tests.support.sink_thread import SinkThread
from tests.support.story import at_rest, ended, summary
from tests.support.valkey import Valkey

NOISE = 0.6  # seconds by which two messages may come closer together on their way, beside the lag of the sink

# The promise of design and code: instants on a grid of (61 s / limit), each used at most 0.9 s late, so that no window
# of 60 s holds more than the limit, and no smaller one more than its share of the grid.
SLACK, LATE = 61.0, 0.9


def assert_rate(times: list[float], per_minute: float, lag: float) -> None:
    """No window between two of `times` holds more of them than the grid has room for, when the sink that noted them
    may have been so late."""
    times = sorted(times)
    for (first, begins), (last, ends) in combinations(enumerate(times), 2):
        most = (ends - begins + LATE + NOISE + lag) * per_minute / SLACK + 1
        assert last - first + 1 <= most, (ends - begins, last - first + 1, lag)


def slow(seconds: float) -> object:
    """An answer that keeps the sink busy, so that other processes have time to be wrong."""

    def answer(*_: object) -> None:
        time.sleep(seconds)

    return answer


def nothing_is_lost(nodes: list[Node], sinks: dict[str, SinkThread], counts: dict[str, int]) -> None:
    """Each message arrived once, logs and books say so, and the four to the stalled host are still queued."""
    total = sum(counts.values())
    until(lambda: summary(*nodes)["Delivery"] == total)
    for name, count in counts.items():
        received = Counter(message.recipients[0] for message in sinks[name].sink.received)
        assert received == {f"m{n}@{name}.test": 1 for n in range(count)}
    statement = nodes[1].statement("limits")
    assert (statement["delivered"], statement["balanced"]) == (total, True)
    assert at_rest(nodes[0], delivered=total, queued=4).recounted[""]["queued"] == 4


def test_two_nodes_of_two_workers_together_stay_within_every_limit_of_a_domain(tmp_path: pathlib.Path) -> None:
    names = ("slots", "rate", "opens", "short", "left", "right", "stalled")
    sinks = {name: SinkThread() for name in names}
    opened: list[float] = []
    sinks["slots"].script(".", slow(0.01))
    sinks["opens"].script("GREETING", lambda *_: opened.append(time.time()))
    sinks["stalled"].script("GREETING", STALL)
    counts = {"slots": 80, "rate": 40, "opens": 6, "short": 24, "left": 16, "right": 16}
    valkey = Valkey(tmp_path / "valkey")
    with running(valkey, *sinks.values()):
        for name in ("rate", "opens", "left", "right"):
            sinks[name].watch_lag()
        table = "{ " + ", ".join(f'"{name}.test" = "{sink.address}"' for name, sink in sinks.items()) + " }"
        sets = {
            "redis": valkey.url,
            "delivery.routes": table,
            "domains": '{ "slots.test" = { connections = 2 }, "rate.test" = { messages_per_minute = 600 }, '
            '"opens.test" = { connections_per_minute = 120, messages_per_connection = 1 }, '
            '"short.test" = { messages_per_connection = 3 }, "left.test" = { messages_per_minute = 300 } }',
            "node.drain_timeout": "40s",
            "sites": '{ pair = { domains = ["left.test", "right.test"], messages_per_minute = 600 } }',
        }
        nodes = [Node(tmp_path / name, name, **sets) for name in ("n1", "n2")]
        with running(*nodes):
            nodes[0].send([f"s{n}@stalled.test" for n in range(4)])
            for name, count in counts.items():
                for half, node in enumerate(nodes):
                    node.send([f"m{n}@{name}.test" for n in range(half, count, 2)], tags=("limits",))
            until(lambda: sum(len(sinks[name].sink.taken) for name in counts) == sum(counts.values()), 90.0)
            times = {name: [message.mail_at for message in sinks[name].sink.begun] for name in names}

            assert sinks["slots"].sink.most_open == 2  # never more, and both were used
            assert_rate(times["rate"], 600, sinks["rate"].lag)
            assert_rate(opened, 120, sinks["opens"].lag)
            assert_rate(times["left"], 300, sinks["left"].lag)  # of the domain, within that of its site
            assert_rate(times["left"] + times["right"], 600, max(sinks["left"].lag, sinks["right"].lag))
            assert len(opened) == counts["opens"]
            carried = Counter(message.connection for message in sinks["short"].sink.taken)
            assert max(carried.values()) == 3
            assert sinks["stalled"].sink.open  # it still waits for the greeting, and the others did not wait for it

            nothing_is_lost(nodes, sinks, counts)
            stopped = time.time()
        assert time.time() - stopped < 40  # a peer that does not even greet keeps nobody for the time of a drain
        for name in counts:
            assert not slots_out(valkey, name)
        assert not recount(valkey.url).broken


def slots_out(valkey: Valkey, name: str) -> bool:
    """Whether any session still owns a connection slot of the domain."""
    return (
        valkey.ask("HLEN", keys.slots_key(keys.slots_name(f"{name}.test", f"domain:default:{name}.test")).decode())
        != b":0\r\n"
    )


def test_workers_that_are_killed_give_their_slots_back(tmp_path: pathlib.Path) -> None:
    sink = SinkThread()
    with running(sink):
        sink.script(".", HOLD)
        node = Node(
            tmp_path,
            **{"delivery.route": sink.address, "domains": '{ "slots.test" = { connections = 2 } }'},
        )
        with running(node):
            every = [f"m{n}@slots.test" for n in range(12)]
            node.send(every)
            until(lambda: sink.sink.open == 2 and len(sink.sink.received) == 2)
            caught = {message.recipients[0] for message in sink.sink.received}
            sink.script(".", None)  # for those that come next
            for pid in node.workers():
                os.kill(pid, signal.SIGKILL)
            ends = ended(node, *every)
            assert {line["type"] for line in ends.values()} == {"Delivery"}
            assert sink.sink.most_open == 2
            receipts = Counter(message.recipients[0] for message in sink.sink.received)
            assert receipts == {address: 1 + (address in caught) for address in every}
            at_rest(node, delivered=len(every))
