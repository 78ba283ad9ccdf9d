import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from tests.support.log_keys import KEYS
from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared

LANES = 4


class StrictLog(NodeAndSink):
    """A node whose log is read as strictly as JSON can be."""

    def lines(self, *more: bytes) -> list[dict[str, Any]]:
        """Every line of the log (after those of `more`), each of them checked."""
        raw = b"".join(more)
        with contextlib.suppress(FileNotFoundError):  # it was moved, and the journal has not opened it anew
            raw += self.node.log.read_bytes()
        return [_strict(line) for line in raw.split(b"\n")[:-1]]

    def log_of(self, tag: str, kind: str = "") -> list[dict[str, Any]]:
        return [e for e in self.lines() if tag in e.get("tags", ()) and (not kind or e["type"] == kind)]

    def backlog(self) -> int:
        return sum(int(self.valkey.ask("XLEN", f"fg:{{{n}}}:events").strip()[1:]) for n in range(LANES))

    def at_rest(self, tag: str, accepted: int, **classes: int) -> dict[str, Any]:
        """The tag's statement once nothing of it is queued and the streams are trimmed."""
        self.rests(tag, accepted=accepted, queued=0, **classes)
        until(lambda: self.backlog() == 0, what="the streams are not trimmed")
        return self.node.statement(tag)


def _strict(line: bytes) -> dict[str, Any]:
    text = line.decode("utf-8")
    assert text.isprintable()
    found: dict[str, Any] = json.loads(text, object_pairs_hook=_once, parse_constant=_never)
    order = [KEYS.index(key) for key in found]
    assert order == sorted(order), f"keys out of order: {list(found)}"
    assert found["v"] == 1
    assert {"time", "event", "type"} <= set(found)
    assert all(value not in (None, "", [], {}) for key, value in found.items() if key != "sender"), found
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert max(Counter(key for key, _ in pairs).values(), default=1) == 1, pairs
    return dict(pairs)


def _never(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictLog]:
    with shared(StrictLog(tmp_path_factory.mktemp("s12"))) as made:
        yield made
