"""The API process: `python -m control_api`, started by `floodgate node`."""

from aiohttp import web

from control_api.app import create_app
from control_api.catalogue import Catalogue
from control_api.dependencies import Dependencies
from mta.model.settings import Settings
from mta.rules.orders import OrderBook
from mta.rules.undo import Undo
from mta.runtime.child import Child, run
from mta.runtime.room import Room
from mta.runtime.store_probe import StoreProbe
from mta.runtime.wiring import Store, open_store, patiently

_PATIENCE = 0.5  # seconds until a store that does not answer is taken to be away
_GRACE = 5.0  # seconds for requests under way when the process is told to stop


async def main(child: Child) -> None:
    store = await open_store(child.settings, child.boot.redis_url, "api", ("api",), child.stopping)
    orders = OrderBook(store.rules, store.sweeps)
    await patiently(orders.start, child.stopping)
    settings = child.settings
    undo = Undo(orders, store.rules, store.spares, settings.node.name, int(settings.rules.undo_window * 1000))
    probe = StoreProbe(store.link)
    runner = web.AppRunner(
        create_app(_dependencies(child.settings, store, orders, undo, probe)),
        access_log=None,
        max_line_size=8192,
        max_field_size=8192,
        shutdown_timeout=_GRACE,
    )
    await runner.setup()
    for listening in child.listeners():
        await web.SockSite(runner, listening).start()
    child.ready()
    await child.stopping.wait()
    await runner.cleanup()
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

    return Dependencies(
        orders=orders,
        undoing=undo,
        rules=store.rules,
        catalogue=Catalogue(store.rules, settings.node.name, settings.rules.protected_tags),
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
