"""The reserve: free space that mail must leave on a file system for orders, outcomes and the log."""

from typing import Final

_SHARE: Final = 0.10  # of the file system
_LEAST: Final = 8 * 1024 * 1024  # bytes
_MOST: Final = 256 * 1024 * 1024
_FLOOR: Final = 0.75  # of the reserve: no message may take this part
_AGAIN: Final = 1.25  # times the reserve: with more free space mail is taken again, so that the node does not flap
_GROWTH: Final = 2  # bytes on the disk for each byte of mail: the server's file, records, counters, log lines


def reserve_of(total: int) -> int:
    """Bytes to keep free of a file system of `total` bytes."""
    return min(_MOST, max(_LEAST, int(total * _SHARE)))


def has_room(free: int, total: int, was_short: bool) -> bool:
    """Whether mail may be taken. After a refusal, clearly more than the reserve must be free."""
    return free >= reserve_of(total) * (_AGAIN if was_short else 1)


def room_for_mail(free: int, total: int) -> float:
    """Bytes of mail that leave most of the reserve free."""
    return (free - reserve_of(total) * _FLOOR) / _GROWTH


def is_getting_short(free: int, total: int) -> bool:
    """Whether free space comes near the reserve, so that the embedded server's file may be rewritten."""
    return free < 4 * reserve_of(total)


def may_compact(free: int, total: int, file: int, data: int) -> bool:
    """Whether to write a server's append-only file anew: space is getting short, much of the `file` (bytes) is history,
    and its `data` (bytes in memory, more than they take in the file) can be written beside it."""
    reserve = reserve_of(total)
    return is_getting_short(free, total) and file > 2 * data and file > reserve // 2 and free > data + reserve // 2
