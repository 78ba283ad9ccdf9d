"""A relay in the comparison: how it is started, what is checked of it, and what it promises of accepted mail."""

import abc
import os
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import psutil

from bench.peers.daemon import Daemon
from bench.processes import RunVoid


class Running(abc.ABC):
    """A relay at work; leaving the context stops it, whatever happened. Checks and `end` raise RunVoid."""

    smtp: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abc.abstractmethod
    def family(self) -> list[psutil.Process]:
        """It and everything that it started and that still runs."""

    @abc.abstractmethod
    def check_delivered(self, accepted: int) -> None:
        """All of so many accepted messages have arrived: what its own books must say then."""

    @abc.abstractmethod
    def check_held(self, accepted: int) -> None:
        """So many were accepted and are kept."""

    @abc.abstractmethod
    def end(self) -> None:
        """Stops it, where a bad end makes the run void."""

    @abc.abstractmethod
    def stop(self) -> None: ...


class FileQueue(Running):
    """A relay that keeps each message in a file of a queue directory."""

    def __init__(self, daemon: Daemon, queue: Path, ending: str = "") -> None:
        """`ending`: of the names that count, where a message has several files."""
        self._daemon = daemon
        self._queue = queue
        self._ending = ending
        self.smtp = daemon.smtp

    def family(self) -> list[psutil.Process]:
        return self._daemon.family()

    def check_delivered(self, accepted: int) -> None:
        """Its queue is the only book it keeps, and it may remove a file after the receipt."""

    def check_held(self, accepted: int) -> None:
        found = sum(name.endswith(self._ending) for _, _, names in os.walk(self._queue) for name in names)
        if found != accepted:
            raise RunVoid(f"{found} messages are held, not {accepted}")

    def end(self) -> None:
        self.stop()

    def stop(self) -> None:
        self._daemon.stop()


class Relay(Protocol):
    """One that can be started on a fresh directory to relay all mail to `route`, or to hold it."""

    name: str
    version: str
    durability: str

    def configured(self, held: bool) -> str:
        """Its configuration, for people."""

    def start(self, place: Path, route: str, held: bool) -> Running: ...
