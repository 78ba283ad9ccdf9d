"""Contents that did not come with their claim: fetched while a connection is reserved for the transaction."""

import asyncio
from collections.abc import Callable

from mta.egress.connection import Connection
from mta.egress.transaction import Transaction
from mta.model.errors import StoreError
from mta.ports.content import Content

Fetched = Callable[[Connection, Transaction, "bytes | None", bool], None]


class ContentFetches:
    """The fetches of one outlet. `fetched` gets connection, transaction, content (None: there is none) and whether
    that is only because the store gave no answer."""

    def __init__(self, content: Content, loop: asyncio.AbstractEventLoop, fetched: Fetched) -> None:
        self._content = content
        self._loop = loop
        self._fetched = fetched
        self._tasks: dict[asyncio.Task[bytes | None], tuple[Connection, Transaction]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, connection: Connection, transaction: Transaction) -> None:
        task = self._loop.create_task(self._get(transaction))
        self._tasks[task] = connection, transaction
        task.add_done_callback(self._done)

    def is_reserved(self, connection: Connection) -> bool:
        """Whether a content is on its way for this connection."""
        return any(other is connection for other, _ in self._tasks.values())

    def stop(self, wanted: Callable[[Transaction], bool]) -> list[tuple[Connection, Transaction]]:
        """Stop the fetches whose transaction is `wanted`. Returns these transactions with their connections."""
        stopped = [(task, pair) for task, pair in self._tasks.items() if wanted(pair[1])]
        for task, _ in stopped:
            del self._tasks[task]
            task.cancel()
        return [pair for _, pair in stopped]

    async def _get(self, transaction: Transaction) -> bytes | None:
        return await self._content.get(transaction.message, transaction.claims[0].record)

    def _done(self, task: asyncio.Task[bytes | None]) -> None:
        found = self._tasks.pop(task, None)
        if found is None or task.cancelled():
            return
        error = task.exception()
        self._fetched(*found, None if error is not None else task.result(), error is not None)
        if error is not None and not isinstance(error, StoreError):
            raise error
