"""The sweeper process: it ends queued deliveries that forced errors match, now instead of at their next attempt."""

import asyncio

from mta.rules.guard import Guard
from mta.rules.sweeper import Sweeper
from mta.runtime.child import Child, run
from mta.runtime.wiring import open_store


async def main(child: Child) -> None:
    settings = child.settings
    store = await open_store(settings, child.boot.redis_url, "sweeper", ("sweeper",), child.stopping)
    guard = Guard(store.rules, "", protected=settings.rules.protected_tags)
    sweeper = Sweeper(
        store.sweeps,
        guard,
        store.rules,
        settings.node.name,
        settings.rules.sweep_rate,
        settings.journal.backlog_soft,
    )
    child.essential(guard.start())
    child.essential(store.link.listen())
    sweeping = child.essential(asyncio.create_task(sweeper.run(), name="sweeper"))
    child.ready()
    await child.stopping.wait()
    sweeper.stop()
    await asyncio.gather(sweeping, return_exceptions=True)
    await guard.stop()
    await store.link.close()


if __name__ == "__main__":
    run(main)
