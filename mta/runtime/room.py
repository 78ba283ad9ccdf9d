"""Space on the file systems that this node writes to: its data folder, and that of the delivery log."""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from mta.model.settings import Settings
from mta.policy import reserve

_FRESH: Final = 0.05  # seconds for which a look is good enough
_MIB: Final = 1024 * 1024


class Space(NamedTuple):
    """A folder's file system, in bytes."""

    folder: str
    free: int
    total: int

    @property
    def is_getting_short(self) -> bool:
        return reserve.is_getting_short(self.free, self.total)

    @property
    def lets_a_server_start(self) -> bool:
        """A server appends to its file as it starts, and ends where it cannot."""
        return self.free >= reserve.reserve_of(self.total) // 2

    def __str__(self) -> str:
        kept = reserve.reserve_of(self.total) // _MIB
        return (
            f"{self.folder}: {self.free // _MIB} MiB are free, and {kept} MiB are kept for orders, outcomes and the log"
        )


class Room:
    """Free space, looked up by each process for itself; calls are cheap and never block for long."""

    def __init__(self, settings: Settings) -> None:
        found = {settings.node.data_dir: None, str(Path(settings.journal.log_path).parent): None}
        self._folders = tuple(found)
        self._short: Space | None = None
        self._spaces: list[Space] = []
        self._left = 0.0  # bytes of mail that may come until the next look
        self._looked = float("-inf")

    def look(self) -> Space | None:
        """The folder that has no space left for mail; None: all have."""
        self._spaces = [space for folder in self._folders if (space := _space(folder)) is not None]
        self._left = min((reserve.room_for_mail(free, total) for _, free, total in self._spaces), default=float("inf"))
        self._looked = time.monotonic()
        was_short = self._short is not None
        short = (space for space in self._spaces if not reserve.has_room(space.free, space.total, was_short))
        self._short = next(short, None)
        return self._short

    def takes(self, size: int) -> bool:
        """Whether there is room for `size` more bytes of mail."""
        if time.monotonic() - self._looked > _FRESH:
            self.look()
        self._left -= size
        return self._short is None and self._left >= 0

    def data_folder(self) -> Space | None:
        """The data folder's space at the last look; None: unknown."""
        return self._spaces[0] if self._spaces else None


def _space(folder: str) -> Space | None:
    """The space of the folder, or of the first folder above it that exists; None: the system does not tell."""
    path = folder
    while True:
        try:
            found = os.statvfs(path)
            return Space(folder, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
        except FileNotFoundError:
            parent = str(Path(path).parent)
            if path == parent:
                return None
            path = parent
        except OSError:
            return None
