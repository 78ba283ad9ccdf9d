"""The rig of a run: a fresh directory on the disk, and sink and node in it, stopped whatever happens."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from bench.flow import Load
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say


class _Stopped(Protocol):
    def stop(self) -> int: ...


_C = TypeVar("_C", bound=_Stopped)


@contextlib.contextmanager
def directory(root: Path) -> Iterator[Path]:
    """A fresh directory under `root`, removed afterwards unless the run was void (its logs then say why)."""
    place = Path(tempfile.mkdtemp(prefix="floodgate-bench-", dir=root))
    try:
        yield place
    except RunVoid as error:
        raise RunVoid(f"{error} (logs and data are kept in {place})") from None
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def running(place: Path, load: Load, say: Say, data: str = "data") -> Iterator[tuple[Node, Sink]]:
    """Sink and node over `place/data`, which may have been used before. Raises RunVoid when the node ends badly."""
    with (
        stopping(Sink(place / "sink.log", *load.destination)) as sink,
        stopping(Node(place / data, load.workers, sink.address, place / "node.log", load.settings)) as node,
    ):
        say(f"node is ready after {node.ready_after:.1f} s")
        yield node, sink
        end_well(node)


def end_well(node: Node) -> None:
    """SIGTERM. Raises RunVoid when the node says that something went wrong."""
    status = node.stop()
    if status != 0:
        raise RunVoid(f"the node ended with status {status} after SIGTERM")


@contextlib.contextmanager
def stopping(child: _C) -> Iterator[_C]:
    try:
        yield child
    finally:
        child.stop()
