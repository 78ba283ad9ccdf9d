"""Whether the store can be worked with: every process asks for itself, one question at a time, with a bounded wait."""

import asyncio
import enum
from typing import NamedTuple

from mta.model.errors import StoreAway, StoreError, StoreRefuses, StoreUnsafe, reason_of
from mta.ports.store_health import StoreHealth


class State(enum.Enum):
    """What keeps a store from being worked with."""

    AWAY = "away"  # it cannot be reached, or does not answer
    READ_ONLY = "read only"  # it answers, and takes no writes
    UNSAFE = "unsafe"  # its settings can lose accepted mail
    UNUSABLE = "unusable"  # it answers what nobody expects


class Trouble(NamedTuple):
    """Why the store cannot be worked with; `reason` names no addresses, `detail` is for the operator."""

    state: State
    reason: str
    detail: str


class StoreProbe:
    """Asks the server for its settings and its role."""

    def __init__(self, store: StoreHealth) -> None:
        self._store = store
        self._asking: asyncio.Task[Trouble | None] | None = None

    async def ask(self, patience: float) -> Trouble | None:
        """None: all is well. Where no answer has come after `patience` seconds, the store is away. The question is not
        given up: the next call waits for the same answer, so that a server which stands still has one to answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="store probe")
        done, _ = await asyncio.wait((self._asking,), timeout=patience)
        if not done:
            return _trouble(StoreAway(f"no answer within {patience:g} s"))
        return self._asking.result()

    async def _ask(self) -> Trouble | None:
        try:
            await self._store.check()
        except StoreError as error:
            return _trouble(error)
        return None

    async def close(self) -> None:
        """Before the connection to the store is closed."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


def _trouble(error: StoreError) -> Trouble:
    states = {StoreUnsafe: State.UNSAFE, StoreRefuses: State.READ_ONLY, StoreAway: State.AWAY}
    state = next((state for kind, state in states.items() if isinstance(error, kind)), State.UNUSABLE)
    return Trouble(state, reason_of(error), str(error))
