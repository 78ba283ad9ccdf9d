"""Mail while the store's connections flap, and what must be true of it afterwards.

The replies to clients are compared with the messages that arrived at the destination, the books, the delivery log, and
the messages of the processes.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.flaps.proxy import CuttingProxy
from tests.support.injector import Injector
from tests.support.node import Node, running, until
from tests.support.recount import recount
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

_SETS = {"rules__max_staleness": "2s", "redis__timeout": "2s"}
_LANES = 4
_PATHS = ("/readyz", "/v1/tags/load", "/v1/errors", "/v1/queues", "/v1/workers", "/metrics")
_DIED = ("ended with status", "ended by itself", "Traceback", "could not be written", "is a bug")
_NAMED = 5


class Evidence(NamedTuple):
    """All that is known of a run at its end."""

    load: Injector
    copies: Counter[str]  # by recipient: messages whose dot the destination answered with 250
    statuses: Counter[int]  # of the API, 0 = no answer
    counted: dict[str, int]
    broken: list[str]  # sentences of the checker
    claimed: int
    logged: Counter[str]  # Delivery lines by recipient
    said: list[str]  # lines of the node's log that must not be there
    cuts: int


def run(seconds: float, seed: int, folder: Path, sessions: int = 4) -> Evidence:
    """The whole story; the verdict on it is `failures`."""
    valkey, sink = Valkey(folder / "valkey"), SinkThread()
    with running(valkey, sink):
        proxy = CuttingProxy(valkey.port, seed)
        with running(proxy):
            node = Node(folder / "n1", redis=f"redis://127.0.0.1:{proxy.port}", delivery__route=sink.address, **_SETS)
            with running(node):
                return _storm(node, valkey, sink, proxy, seconds, seed, sessions)


def _storm(
    node: Node, valkey: Valkey, sink: SinkThread, proxy: CuttingProxy, seconds: float, seed: int, sessions: int
) -> Evidence:
    load, asker = Injector(node, sessions=sessions), _Asker(node, seed)
    with running(load):
        until(lambda: len(load.taken) > 50)
        proxy.storm()
        with running(asker):
            end = time.monotonic() + seconds
            until(lambda: time.monotonic() > end, seconds + 60)
        proxy.calm()
        before = len(load.taken)
        until(lambda: len(load.taken) > before + 50, what="mail is not taken again after the storm")
    until(lambda: _at_rest(node), what="mail waits that nobody delivers")
    copies = _copies(sink)
    _wait_for(lambda: set(copies) <= _logged(node).keys(), 60)
    report = recount(valkey.url)
    return Evidence(
        load=load,
        copies=_copies(sink),
        statuses=asker.statuses,
        counted={name: count for name, count in report.counted[""].items() if count},
        broken=report.broken + ([] if report.balanced else [f"the books do not balance: {report.counted}"]),
        claimed=_claimed(valkey),
        logged=_logged(node),
        said=[line for line in node.errors().splitlines() if any(word in line for word in _DIED)],
        cuts=proxy.cuts,
    )


class _Asker:
    """Asks the API for this and that until `stop`."""

    def __init__(self, node: Node, seed: int) -> None:
        self._node = node
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.statuses: Counter[int] = Counter()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                status, _ = self._node.call("GET", self._random.choice(_PATHS))
            except ValueError:  # metrics are no JSON
                status = 200
            except OSError:
                status = 0
            self.statuses[status] += 1


def failures(evidence: Evidence) -> list[str]:
    """One sentence for each promise that was broken."""
    return [sentence for check in _CHECKS for sentence in check(evidence)]


def _nothing_is_lost_and_nothing_refused_arrives(evidence: Evidence) -> Iterator[str]:
    load, arrived = evidence.load, evidence.copies.keys()
    if lost := load.taken - arrived:
        yield f"answered 250 and never delivered: {_some(lost)}"
    if phantoms := load.refused & arrived:
        yield f"refused and delivered: {_some(phantoms)}"
    if strange := arrived - load.taken - load.unknown:
        yield f"delivered and never handed in: {_some(strange)}"
    if bad := load.codes - {250, 421, 451, 452}:
        yield f"the client was told {sorted(bad)} for trouble of our own"


def _nothing_comes_twice(evidence: Evidence) -> Iterator[str]:
    """No worker died, and outcomes are kept until the store answers."""
    if twice := [name for name, count in evidence.copies.items() if count > 1]:
        yield f"delivered more than once: {_some(twice)}"


def _the_books_say_the_same(evidence: Evidence) -> Iterator[str]:
    counted, arrived = evidence.counted, len(evidence.copies)
    yield from evidence.broken
    if not counted.get("accepted") == counted.get("delivered") == arrived:
        yield f"{arrived} arrived, and the books say {counted}"
    if evidence.claimed:
        yield f"{evidence.claimed} deliveries are claimed by a worker that does not know of them"
    if evidence.logged.keys() != evidence.copies.keys():
        yield f"arrived or logged, not both: {_some(evidence.logged.keys() ^ evidence.copies.keys())}"


def _everything_kept_running(evidence: Evidence) -> Iterator[str]:
    if evidence.said:
        yield f"{len(evidence.said)} lines of the log: {evidence.said[:_NAMED]}"
    if bad := evidence.statuses.keys() - {200, 503}:
        yield f"the API answered {sorted(bad)}: {dict(evidence.statuses)}"


def _something_was_cut(evidence: Evidence) -> Iterator[str]:
    if not evidence.cuts or not evidence.load.taken:
        yield f"this was no trial: {evidence.cuts} cuts, {len(evidence.load.taken)} messages taken"


_CHECKS = (
    _nothing_is_lost_and_nothing_refused_arrives,
    _nothing_comes_twice,
    _the_books_say_the_same,
    _everything_kept_running,
    _something_was_cut,
)


def summary(evidence: Evidence) -> str:
    load = evidence.load
    return (
        f"{evidence.cuts} cuts, {len(load.taken)} taken, {len(load.refused)} refused, {len(load.unknown)} unknown, "
        f"{sum(evidence.copies.values())} arrived, API {dict(sorted(evidence.statuses.items()))}"
    )


def _at_rest(node: Node) -> dict[str, Any] | None:
    status, found = node.call("GET", "/v1/tags/load")
    return found if status == 200 and found["queued"] == 0 and found["accepted"] else None


def _copies(sink: SinkThread) -> Counter[str]:
    return Counter(to for message in list(sink.sink.received) if message.taken for to in message.recipients)


def _logged(node: Node) -> Counter[str]:
    return Counter(event["recipient"] for event in node.events() if event["type"] == "Delivery")


def _claimed(valkey: Valkey) -> int:
    """Deliveries that any session holds."""
    held = 0
    for lane in range(_LANES):
        names = valkey.ask("SMEMBERS", f"fg:{{{lane}}}:holders").split(b"\r\n")[2::2]
        for name in filter(None, names):
            held += int(valkey.ask("HLEN", f"fg:{{{lane}}}:claimed:{name.decode()}").strip()[1:])
    return held


def _wait_for(holds: Any, seconds: float) -> None:
    """Or until the time is over: the verdict says what is missing then."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)


def _some(names: Any) -> str:
    found = sorted(names)
    return f"{len(found)}: {', '.join(found[:_NAMED])}"
