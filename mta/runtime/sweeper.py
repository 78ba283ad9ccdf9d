"""The sweeper process: it runs sweeps, releases paused mail, expires mail without a pool, and drops old undo copies."""

import asyncio
import os
from contextlib import suppress
from typing import Final

from mta.runtime.child import Child
from mta.runtime.wiring.sweeper import open_sweeper

# At this priority a sweep has the processor time that nobody else wants, and a third of another process's share where
# all is wanted. Pauses between its steps made sweeps slow on an idle machine, and still took time from other mail on a
# busy one.
_NICE: Final = 5


async def main(child: Child) -> None:
    parts = await open_sweeper(child)
    child.essential(parts.guard.start())
    child.essential(parts.listen())
    tasks = [child.essential(asyncio.create_task(work.run(), name=type(work).__name__)) for work in parts.works]
    await child.unless_stopped(parts.guard.ready())
    if not child.stopping.is_set():
        with suppress(OSError):  # a system may forbid it
            os.nice(_NICE)  # not before: the start of the node waits for this process, and its stop for its end
    child.ready()
    await child.stopping.wait()
    for work in parts.works:
        work.stop()
    await asyncio.gather(*tasks, return_exceptions=True)
    await parts.guard.stop()
    await parts.close()
