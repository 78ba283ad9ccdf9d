"""The sweeper process: it runs the sweeps, releases paused mail, expires mail without a pool, drops undo copies."""

import asyncio
import os
from contextlib import suppress
from typing import Final

from mta.orders.account import Accounts
from mta.rules.guard import Guard
from mta.runtime.child import Child, run
from mta.runtime.old_libraries import OldLibraries
from mta.runtime.wiring import open_store
from mta.sweeps.pace import Pace
from mta.sweeps.release import Releaser
from mta.sweeps.sweep_moves import Decider
from mta.sweeps.sweeper import Sweeper
from mta.sweeps.undo_copies import UndoCopyCleaner
from mta.sweeps.unserved import UnservedWatch
from mta.timing.clock import wall_ms

# Beside other mail a sweep has the processor time that nobody else wants, and a tenth where all is wanted. Resting
# between its steps made it slow where time was to be had, and took some from others where none was.
_NICE: Final = 10


async def main(child: Child) -> None:
    settings = child.settings
    store = await open_store(settings, child.boot.redis_url, "sweeper", ("sweeper",), child.stopping)
    guard = Guard(store.rules, "", protected=settings.rules.protected_tags)
    pace = Pace(store.load, settings.rules.sweep_rate, settings.journal.backlog_soft)
    decider = Decider(settings.node.name, int(settings.rules.undo_window * 1000), wall_ms)
    accounts = Accounts(store.rules, store.books, store.undo_copies)
    workers: list[Sweeper | Releaser | UndoCopyCleaner | UnservedWatch | OldLibraries] = [
        Sweeper(store.sweeps, guard, store.rules, decider, pace, accounts.at_the_end),
        Releaser(store.sweeps, guard, decider, pace),
        UndoCopyCleaner(store.undo_copies, store.load),
        UnservedWatch(store.sweeps, store.rules, store.messages, settings.node.name),
        OldLibraries(store.link, store.rules),
    ]
    child.essential(guard.start())
    child.essential(store.link.listen())
    tasks = [child.essential(asyncio.create_task(one.run(), name=type(one).__name__)) for one in workers]
    await child.unless_stopped(guard.ready())
    if not child.stopping.is_set():
        with suppress(OSError):  # a system may forbid it
            os.nice(_NICE)  # not before: the start of the node waits for this process, and its stop for its end
    child.ready()
    await child.stopping.wait()
    for one in workers:
        one.stop()
    await asyncio.gather(*tasks, return_exceptions=True)
    await guard.stop()
    await store.link.close()


if __name__ == "__main__":
    run(main)
