"""A fleet: nodes on one store and the sink that they deliver to, spoken to as one node."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench import servers
from bench.flow import Load
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.rig import end_well, stopping


class Shape(msgspec.Struct, frozen=True):
    """The nodes and servers that are built for one point of a curve, and the load of the point."""

    x: float
    load: Load  # `workers`: of each node
    nodes: int = 1
    store: str = "embedded"  # or "single", "cluster"
    masters: int = 3  # of a "cluster"
    rules: int = 0
    waiting: int = 0  # deliveries that wait in the queues meanwhile
    drained: int = 0  # messages that are accepted first, and all due at one instant
    orders: int = 0  # given one after the other
    proved: bool = False  # orders, pauses, a cancel and the books are tried, too


class Fleet:
    """Its mail is shared out among the nodes; the answer of one API holds for all of them."""

    def __init__(self, nodes: list[Node], store: servers.Store) -> None:
        self.nodes = nodes
        self.store = store
        self.smtp = ",".join(node.smtp for node in nodes)
        self.logs = [node.log for node in nodes]
        self.first = nodes[0]

    def get(self, path: str) -> Any:
        """The JSON of a path that must be there."""
        return self.first.get(path)

    def family(self) -> list[psutil.Process]:
        """The nodes, everything that they started, and the servers."""
        return [process for node in self.nodes for process in node.family()] + self.store.processes()

    def workers(self) -> list[psutil.Process]:
        """The processes that take and deliver mail."""
        return [one for one in self.family() if one.cmdline()[:1] == ["floodgate: mta.runtime.worker"]]


@contextlib.contextmanager
def store_of(place: Path, shape: Shape) -> Iterator[servers.Store | None]:
    """The server outside the nodes, None where the node brings its own."""
    if shape.store == "embedded":
        yield None
        return
    folder = place / "store"
    with servers.single(folder) if shape.store == "single" else servers.cluster(folder, shape.masters) as store:
        yield store


@contextlib.contextmanager
def running(place: Path, shape: Shape, store: servers.Store | None, say: Say) -> Iterator[tuple[Fleet, Sink]]:
    """Sink and nodes, on `store` unless it is None. Raises RunVoid when a node ends badly."""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(stopping(Sink(place / "sink.log", *shape.load.destination)))
        nodes = [stack.enter_context(stopping(_node(place, shape, sink, store, n))) for n in range(shape.nodes)]
        say(f"{len(nodes)} nodes are ready after {', '.join(f'{node.ready_after:.1f}' for node in nodes)} s")
        yield Fleet(nodes, store or servers.behind(nodes[0].redis)), sink
        for node in nodes:
            end_well(node)


def _node(place: Path, shape: Shape, sink: Sink, store: servers.Store | None, number: int) -> Node:
    name = f"node-{number}"
    load = shape.load
    return Node(
        place / name,
        load.workers,
        sink.address,
        place / "node.log",
        load.settings,
        name=name,
        server=store.url if store else "",
    )


def expect(what: str, found: Any, wanted: Any) -> None:
    """Raises RunVoid where the two differ."""
    if found != wanted:
        raise RunVoid(f"{what} is {found}, not {wanted}")
