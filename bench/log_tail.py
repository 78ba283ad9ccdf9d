"""The delivery log as it grows: how many lines of one type have come, and for how many deliveries."""

from collections.abc import Sequence
from pathlib import Path

import msgspec


class _Line(msgspec.Struct):
    type: str
    id: str = ""


_decode = msgspec.json.Decoder(_Line).decode


class LogTail:
    """Counts what is written after it was made, to one log or to those of several nodes."""

    def __init__(self, logs: Path | Sequence[Path], kind: str) -> None:
        paths = [logs] if isinstance(logs, Path) else logs
        self._kind = kind
        self._mark = f'"{kind}"'.encode()
        self._at = {path: path.stat().st_size if path.exists() else 0 for path in paths}
        self._lines = 0
        self._ids: set[str] = set()

    def count(self) -> tuple[int, int]:
        """Whole lines of the type so far, and the different deliveries that they name."""
        for path in self._at:
            if path.exists():
                self._read_on(path)
        return self._lines, len(self._ids)

    def _read_on(self, path: Path) -> None:
        with path.open("rb") as log:
            log.seek(self._at[path])
            for raw in log:
                if not raw.endswith(b"\n"):
                    break
                self._at[path] += len(raw)
                if self._mark in raw:
                    line = _decode(raw)
                    if line.type == self._kind:
                        self._lines += 1
                        self._ids.add(line.id)
