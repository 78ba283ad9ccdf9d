"""The API process: `python -m control_api`, started by `floodgate node`."""

import resource

from control_api.app import create_app
from control_api.catalogue import Catalogue
from control_api.dependencies import Dependencies
from control_api.http.connections import Connections, most_connections
from control_api.http.serving import Serving
from control_api.http.turns import Turns
from control_api.http.waiting import Waiting
from control_api.pool_depths import MeasuredDepths
from mta.model.settings import Settings
from mta.orders.cancellation import Cancellation
from mta.orders.order_book import OrderBook
from mta.orders.undo import UndoRuns
from mta.runtime.child import Child, run
from mta.runtime.room import Room
from mta.runtime.store_probe import StoreProbe
from mta.runtime.wiring import Store, open_store, patiently

_PATIENCE = 0.5  # seconds until a store that does not answer is taken to be away


async def main(child: Child) -> None:
    settings, sockets = child.settings, child.listeners()
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most_connections(descriptors)
    async with Waiting(sockets, Connections(most)) as waiting:
        store = await open_store(settings, child.boot.redis_url, "api", ("api",), child.stopping, waiting.because)
        orders = OrderBook(store.rules, store.sweeps)
        await patiently(orders.start, child.stopping)
    undo = UndoRuns(orders, store.rules, store.undo_copies, settings.node.name, int(settings.rules.undo_window * 1000))
    probe = StoreProbe(store.link)
    depths = MeasuredDepths(store.books.depths)
    serving = Serving(
        create_app(_dependencies(child.settings, store, orders, undo, probe, depths)),
        Connections(most),
    )
    await serving.start(sockets)
    child.ready()
    await child.stopping.wait()
    await serving.stop()
    await depths.stop()
    await undo.stop()
    await orders.stop()
    await probe.close()
    await store.link.close()


def _dependencies(
    settings: Settings, store: Store, orders: OrderBook, undo: UndoRuns, probe: StoreProbe, depths: MeasuredDepths
) -> Dependencies:
    room = Room(settings)

    async def health() -> str:
        trouble = await probe.ask(_PATIENCE)
        if trouble is not None:
            return trouble.reason
        return "no space left in the data folder or that of the log" if room.look() is not None else ""

    turns = Turns()
    return Dependencies(
        orders=orders,
        undo=undo,
        rules=store.rules,
        catalogue=Catalogue(store.rules, settings.node.name, settings.rules.protected_tags, turns),
        turns=turns,
        retention=settings.status.retention,
        sweeps=store.sweeps,
        undo_copies=store.undo_copies,
        books=store.books,
        depths=depths,
        messages=Cancellation(store.messages, settings.node.name, settings.redis.timeout),
        load=store.load,
        tail=store.tail,
        journals=store.outbox,
        tokens=store.cluster,
        fate=store.foundation,
        node=settings.node.name,
        api=settings.api,
        health=health,
        workers=settings.node.workers if "delivery" in settings.node.roles else 0,
        pools={name: pool.ips for name, pool in settings.pools.items()},
        protected_tags=settings.rules.protected_tags,
    )


if __name__ == "__main__":
    run(main)
