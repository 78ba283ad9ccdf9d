"""The health of the store: every process asks for itself, one question at a time, and waits for a bounded time."""

import asyncio
import enum
from typing import NamedTuple

from mta.model.errors import StoreAway, StoreError, StoreRefuses, StoreUnsafe, reason_of
from mta.ports.store_health import StoreHealth


class State(enum.Enum):
    """The kinds of trouble with a store."""

    AWAY = "away"  # it cannot be reached, or does not answer
    READ_ONLY = "read only"  # it answers, and takes no writes
    UNSAFE = "unsafe"  # its settings can lose accepted mail
    UNUSABLE = "unusable"  # it gives unexpected answers


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
        """None: all is well. A store that has not answered after `patience` seconds is away. The question stays open
        and the next call waits for its answer, so that a server which hangs has only one question to answer."""
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
