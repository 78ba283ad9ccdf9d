"""The protocol of a topology: it tells the link which server has a key and which take writes, and sends the calls."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection

Word = bytes | str | int | float
Words = tuple[Word, ...]
OnConnect = Callable[[AbstractConnection], Awaitable[None]]  # called with each new connection, before it is used


class Master(NamedTuple):
    """One server that takes writes."""

    name: str  # "host:port" in a Cluster, "" elsewhere
    command: Callable[..., Awaitable[Any]]  # runs a command there


class Topology(Protocol):
    """Every call may raise the client library's errors, and OSError."""

    resends: bool  # whether the client sends a command again by itself when a connection fails
    checks_keys: bool  # whether the server looks at the keys of a step, which may be on their way to another server

    async def reach(self) -> None:
        """Learn which servers there are."""

    async def refresh(self) -> None:
        """Ask which server is the master now, where another may have become it; connections to the one before end."""

    def ask(self, words: Words, key: bytes, patient: bool) -> Awaitable[Any]:
        """One atomic step on the master of `key`. `patient`: it may wait for another one and share its connection."""

    def ask_with(self, words: Words, name: bytes, fields: Sequence[bytes]) -> Awaitable[Any]:
        """One atomic step, and `fields` (field, value, ...) of the hash `name`, which is in its lane: either they stand
        there when it begins, in one transaction with it; or they are its last arguments, and it puts them there."""

    def quick(self, words: Words) -> Awaitable[Any]:
        """A command that is answered at once, over the connections of steps."""

    def command(self, words: Words) -> Awaitable[Any]:
        """Any command, on the master of its first key."""

    async def together(self, key: bytes, *commands: Words) -> list[Any]:
        """The answers of commands that go over one connection, to the master of `key`; raises the first error."""

    def every_master(self) -> list[Master]: ...

    def groups(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """`keys` so that one command may name all keys of a group."""

    async def scan(self, key: bytes, words: Words) -> tuple[int, list[bytes]]:
        """A page of a SCAN on the master of `key`, and the next cursor."""

    async def subscribe(
        self, channels: Collection[bytes], began: Callable[[], None], heard: Callable[[bytes, bytes], None]
    ) -> None:
        """Call `began` once the subscription stands, then `heard` with channel and message, until it is lost."""

    async def close(self) -> None: ...


def raise_first_error(answers: list[Any]) -> list[Any]:
    """The answers of several commands, none of which is an error."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
