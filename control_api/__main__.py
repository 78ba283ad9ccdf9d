"""The API process: `python -m control_api`, started by `floodgate node`."""

import resource

from control_api.app import create_app
from control_api.catalogue import Catalogue
from control_api.dependencies import Dependencies
from control_api.http.connections import Connections, most_connections
from control_api.http.serving import Serving
from control_api.http.turns import Turns
from control_api.http.waiting import Waiting
from mta.model.settings import Settings
from mta.rules.orders import OrderBook
from mta.rules.undo import Undo
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
    undo = Undo(orders, store.rules, store.spares, settings.node.name, int(settings.rules.undo_window * 1000))
    probe = StoreProbe(store.link)
    serving = Serving(
        create_app(_dependencies(child.settings, store, orders, undo, probe)),
        Connections(most),
    )
    await serving.start(sockets)
    child.ready()
    await child.stopping.wait()
    await serving.stop()
    await undo.stop()
    await orders.stop()
    await probe.close()
    await store.link.close()


def _dependencies(settings: Settings, store: Store, orders: OrderBook, undo: Undo, probe: StoreProbe) -> Dependencies:
    room = Room(settings)

    async def health() -> str:
        trouble = await probe.ask(_PATIENCE)
        if trouble is not None:
            return trouble.reason
        return "no space left in the data folder or that of the log" if room.look() is not None else ""

    turns = Turns()
    return Dependencies(
        orders=orders,
        undoing=undo,
        rules=store.rules,
        catalogue=Catalogue(store.rules, settings.node.name, settings.rules.protected_tags, turns),
        turns=turns,
        retention=settings.status.retention,
        sweeps=store.sweeps,
        spares=store.spares,
        books=store.books,
        messages=store.messages,
        tail=store.tail,
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
