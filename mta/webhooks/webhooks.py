"""The process that serves webhook endpoints: it shares them with others, and keeps how far each has been told."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from mta.model.errors import FloodgateError, HistoryError, HistoryNotBegun, SealError, StoreError, severity
from mta.model.webhooks import Endpoint, EndpointFigures
from mta.ports.history import BEGINNING, Cursor, History
from mta.ports.secrets import Sealer
from mta.ports.webhooks import (
    EndpointWork,
    KeptFigures,
    KeptState,
    KeptStream,
    OwnerMoved,
    Poster,
    SharedEndpoints,
    WebhookState,
)
from mta.timing.alarm import Alarm
from mta.timing.clock import wall_ms
from mta.webhooks.parts import Parts
from mta.webhooks.reader import EventReader
from mta.webhooks.sender import Sender

log = logging.getLogger(__name__)

LEASE: Final = 6.0  # seconds
_TURN: Final = 1.0  # between two looks at the endpoints and their leases
_KEEP_EVERY: Final = 0.5  # seconds between two writes of the state: an answer of before is never forgotten
_TELL_EVERY: Final = 1.0
_OPEN_AGAIN: Final = 10.0  # after a secret could not be opened
_LAST_ANSWERS: Final = 5.0  # seconds for requests under way when the process stops
_LATE_MS: Final = 600_000  # events that history learnt so long after they happened are replayed, too

_T = TypeVar("_T")


class Webhooks:
    """The senders of this process. `run` until `stop`."""

    def __init__(
        self,
        store: EndpointWork,
        state: WebhookState,
        history: History,
        poster: Poster,
        sealer: Sealer,
        node: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`node` names this process in the cluster: a node has one."""
        self._store = store
        self._state = state
        self._history = history
        self._sealer = sealer
        self._node = node
        self._clock = clock
        self._wall = wall
        self._parts = Parts(history, poster, sealer, self._disable, self._read_on, clock=clock, wall=wall)
        self._shared = SharedEndpoints(b"", {})
        self._senders: dict[str, Sender] = {}
        self._reader = EventReader(history, self._senders.values)
        self._alarm = Alarm()
        self._writing = asyncio.Lock()
        self._orders: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[Any]] = []
        self._unopened: dict[str, float] = {}  # id of an endpoint -> when its secret is tried again
        store.on_change(self._alarm.ring)

    async def run(self) -> None:
        """Until cancelled."""
        await self._forget_removed()
        loops = (self._reader.run(), self._keep_state(), self._tell_figures(), self._take_turns())
        self._tasks = [asyncio.get_running_loop().create_task(loop) for loop in loops]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """After `run`: requests under way are answered, and the state is kept."""
        await asyncio.gather(*(sender.stop(_LAST_ANSWERS) for sender in self._senders.values()))
        for endpoint_id in list(self._senders):
            await self._let_go(endpoint_id)
        for order in tuple(self._orders):
            await asyncio.wait((order,), timeout=_LAST_ANSWERS)

    # Endpoints and their leases

    async def _take_turns(self) -> None:
        while True:
            try:
                await self.turn()
            except (StoreError, HistoryError) as error:
                level = logging.DEBUG if isinstance(error, HistoryNotBegun) else severity(error)
                log.log(level, "webhooks: %s", error)
            await asyncio.sleep(0.05)
            await self._alarm.sleep(_TURN)

    async def turn(self) -> None:
        """Follow the endpoints, and serve as many as this process shall. Raises StoreError, HistoryError."""
        changed = await self._store.endpoints(self._shared.version)
        if changed is not None:
            self._shared = changed
        endpoints = self._shared.endpoints
        self._unopened = {name: at for name, at in self._unopened.items() if name in endpoints}
        for endpoint_id in [name for name in self._senders if name not in endpoints]:
            await self._senders.pop(endpoint_id).stop(0.0)
            await self._blocking(self._state.forget, endpoint_id)
        able = [one for one in endpoints.values() if one.id in self._senders or self._can_open(one)]
        # A process that cannot open some of the secrets does not count: others have a share of these endpoints, too.
        processes = 1 if self._unopened else max(1, await self._store.attend(self._node, LEASE))
        share = -(-len(endpoints) // processes)
        for endpoint_id in list(self._senders)[share:]:
            await self._senders[endpoint_id].stop(_LAST_ANSWERS)
            await self._let_go(endpoint_id)
        for endpoint in able:
            if endpoint.id in self._senders or len(self._senders) < share:
                await self._lead(endpoint)

    def _can_open(self, endpoint: Endpoint) -> bool:
        """Whether this node can sign for it; without the cluster's key another node serves it."""
        if self._clock() < self._unopened.get(endpoint.id, 0.0):
            return False
        try:
            self._sealer.open(endpoint.secret, endpoint.about)
        except SealError as error:
            if endpoint.id not in self._unopened:
                log.error("the webhook %s is not served here: %s", endpoint.id, error)
            self._unopened[endpoint.id] = self._clock() + _OPEN_AGAIN
            return False
        self._unopened.pop(endpoint.id, None)
        return True

    async def _lead(self, endpoint: Endpoint) -> None:
        asked = self._clock()
        leads = await self._store.lead(endpoint.id, self._node, LEASE)
        sender = self._senders.get(endpoint.id)
        if not leads:
            if sender is not None and self._clock() >= sender.lease_until:
                await self._drop(endpoint.id)
            return
        if sender is None:
            sender = await self._begin(endpoint)
        sender.lease_until = asked + LEASE * 0.8
        sender.follow(endpoint)
        order, live = endpoint.replay, sender.live
        if order is not None and order.number > live.number and sender.replay is None:
            at, end = await self._history.at(order.begin), await self._history.at(order.end + _LATE_MS)
            live.number = order.number
            sender.begin_replay(order, at, end)
            self._reader.ring()

    async def _begin(self, endpoint: Endpoint) -> Sender:
        owner, state = await self._blocking(self._state.take, endpoint.id)
        if state is None:
            live = KeptStream(await self._start_of(endpoint))
            state = KeptState({False: live}, {False: (), True: ()}, KeptFigures())
        sender = Sender(endpoint, owner, state, self._parts)
        self._senders[endpoint.id] = sender
        sender.start()
        self._reader.ring()
        return sender

    async def _start_of(self, endpoint: Endpoint) -> Cursor:
        """A new endpoint begins with the rounds that history writes after it was made."""
        try:
            return await self._history.at(endpoint.created_at)
        except HistoryNotBegun:
            return BEGINNING

    async def _drop(self, endpoint_id: str) -> None:
        """Another process has it: nothing of it is kept here any more."""
        log.warning("the webhook %s is served by another process now", endpoint_id)
        await self._senders.pop(endpoint_id).stop(0.0)

    async def _let_go(self, endpoint_id: str) -> None:
        """It was stopped here; another process may go on."""
        await self._keep(endpoint_id)
        del self._senders[endpoint_id]
        try:
            await self._store.let_go(endpoint_id, self._node)
        except StoreError as error:
            log.log(severity(error), "the webhook %s is not handed over at once: %s", endpoint_id, error)

    async def _forget_removed(self) -> None:
        """State of endpoints that were removed while no process served them."""
        while True:
            try:
                await self._blocking(self._state.open)
                known = await self._blocking(self._state.known)
                shared = await self._store.endpoints()
                for endpoint_id in known:
                    if shared is not None and endpoint_id not in shared.endpoints:
                        await self._blocking(self._state.forget, endpoint_id)
                return
            except FloodgateError as error:
                log.log(severity(error), "webhooks wait: %s", error)
                await asyncio.sleep(_TURN)

    # State and figures

    async def _keep_state(self) -> None:
        while True:
            for endpoint_id in list(self._senders):
                await self._keep(endpoint_id)
            await asyncio.sleep(_KEEP_EVERY)

    async def _keep(self, endpoint_id: str) -> None:
        """Write what has changed of one endpoint."""
        async with self._writing:
            sender = self._senders.get(endpoint_id)
            found = sender.changes() if sender is not None else None
            if sender is None or found is None:
                return
            change, written = found
            try:
                await asyncio.to_thread(self._state.write, endpoint_id, sender.owner, change)
            except OwnerMoved:
                await self._drop(endpoint_id)
            except HistoryError as error:
                written(False)
                log.warning("the state of the webhook %s cannot be kept: %s", endpoint_id, error)
            except BaseException:
                written(False)
                raise
            else:
                written(True)

    async def _tell_figures(self) -> None:
        while True:
            await asyncio.sleep(_TELL_EVERY)
            try:
                figures = {name: await self._figures(sender) for name, sender in list(self._senders.items())}
                await self._store.tell(figures)
            except (StoreError, HistoryError) as error:
                log.debug("figures of webhooks are not told: %s", error)

    async def _figures(self, sender: Sender) -> EndpointFigures:
        behind = await self._history.behind(sender.live.next_read) if not self._reader.trouble else None
        unread, since = behind or (0, 0)
        return sender.figures(self._node, self._reader.trouble, unread, since)

    def _read_on(self) -> None:
        self._reader.ring()

    def _disable(self, endpoint_id: str, reason: str) -> None:
        self._order(self._tell_disabled(endpoint_id, reason))

    async def _tell_disabled(self, endpoint_id: str, reason: str) -> None:
        def edit(endpoint: Endpoint | None) -> Endpoint | None:
            if endpoint is None or endpoint.disabled_at:
                return None
            return replace(endpoint, disabled_at=self._wall(), disabled_reason=reason)

        while endpoint_id in self._senders:
            try:
                await self._store.edit(endpoint_id, edit)
                return
            except FloodgateError as error:
                log.log(severity(error), "the webhook %s is not marked as disabled yet: %s", endpoint_id, error)
                await asyncio.sleep(_TURN)

    def _order(self, order: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(order)
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    async def _blocking(self, call: Callable[..., _T], *args: Any) -> _T:
        async with self._writing:
            return await asyncio.to_thread(partial(call, *args))
