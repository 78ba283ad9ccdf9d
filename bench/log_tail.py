"""The delivery log as it grows: how many lines of one type have come, and for how many deliveries."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.processes import RunVoid
from bench.progress import Say

_POLL = 0.1
_TELL_EVERY = 2.0


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

    def until(self, expected: int, within: float, say: Say) -> float:
        """Seconds from now until it has one line for each of so many deliveries. Raises RunVoid when it has not."""
        start = told = time.monotonic()
        while True:
            lines, different = self.count()
            now = time.monotonic()
            if lines == different == expected:
                return round(now - start, 2)
            if lines > expected or now - start > within:
                raise RunVoid(
                    f"the delivery log has {lines} {self._kind} lines for {different} deliveries, not {expected}"
                )
            if now - told > _TELL_EVERY:
                told = now
                say(f"the delivery log has {lines:,} of {expected:,} {self._kind} lines")
            time.sleep(_POLL)

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
