"""The few things that the verdict on a soak needs of the delivery logs, read line by line: they are large."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec


class LogMarks(NamedTuple):
    """By delivery id where nothing else is said."""

    late: frozenset[str]  # a worker learnt of an outcome after its claim was lost
    escaped: frozenset[str]  # a dot was handed over by a process that was stopped in that moment
    received: dict[str, str]  # recipient -> delivery id, of the recipients that were asked for


class _Line(msgspec.Struct):
    type: str
    id: str = ""
    recipient: str = ""


_decode = msgspec.json.Decoder(_Line).decode


def read_marks(logs: Iterable[Path], recipients: Collection[str]) -> LogMarks:
    """Of these logs; whether `recipients` were accepted is looked up."""
    late: set[str] = set()
    escaped: set[str] = set()
    received: dict[str, str] = {}
    for path in logs:
        if not path.exists():
            continue
        with path.open("rb") as log:
            for text in log:
                if not text.endswith(b"\n"):
                    break  # the journal is writing it
                line = _decode(text)
                if line.type == "LateOutcome":
                    late.add(line.id)
                elif line.type == "Escaped":
                    escaped.add(line.id)
                elif line.type == "Reception" and line.recipient in recipients:
                    received[line.recipient] = line.id
    return LogMarks(frozenset(late), frozenset(escaped), received)
