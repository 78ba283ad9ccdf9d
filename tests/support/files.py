"""Files of a running node, which makes, renames and removes some meanwhile: one that has gone is passed over."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files and folders below it, each with its status."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """The regular files below it, each with its content."""
    for path, status in below(folder):
        if stat.S_ISREG(status.st_mode):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.read_bytes()
