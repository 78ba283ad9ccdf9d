"""The files of a delivery log that have an address in them: the log itself, and those it was moved to."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_BLOCK: Final = 1024 * 1024


def files_with(log_path: str, address: str) -> tuple[str, ...]:
    """Their paths; a file that cannot be read is named, too. Reads every file to its end where it has none."""
    log = Path(log_path)
    return tuple(
        str(path) for path in sorted(log.parent.glob(f"{log.name}*")) if path.is_file() and _has(path, address)
    )


def _has(path: Path, address: str) -> bool:
    wanted = address.lower().encode()
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            tail = b""
            while block := file.read(_BLOCK):
                block = block.lower()
                if wanted in tail + block:
                    return True
                tail = block[-len(wanted) :]
    except (OSError, EOFError):
        return path.exists()
    return False
