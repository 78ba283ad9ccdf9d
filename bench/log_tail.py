"""The delivery log as it grows: how many lines of one type have come, and for how many deliveries."""

from pathlib import Path

import msgspec


class _Line(msgspec.Struct):
    type: str
    id: str = ""


_decode = msgspec.json.Decoder(_Line).decode


class LogTail:
    """Counts what is written after it was made."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self._mark = f'"{kind}"'.encode()
        self._at = path.stat().st_size if path.exists() else 0
        self._lines = 0
        self._ids: set[str] = set()

    def count(self) -> tuple[int, int]:
        """Whole lines of the type so far, and the different deliveries that they name."""
        if self._path.exists():
            with self._path.open("rb") as log:
                log.seek(self._at)
                for raw in log:
                    if not raw.endswith(b"\n"):
                        break
                    self._at += len(raw)
                    if self._mark in raw:
                        line = _decode(raw)
                        if line.type == self._kind:
                            self._lines += 1
                            self._ids.add(line.id)
        return self._lines, len(self._ids)
