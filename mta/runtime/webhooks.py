"""The webhooks process: it tells the endpoints of senders what became of their mail. Mail never waits for it."""

import asyncio
import os
from contextlib import suppress
from typing import Final

from mta.runtime.child import Child
from mta.runtime.wiring.webhooks import open_webhooks

_NICE: Final = 5  # mail comes first where the processor is wanted by both


async def main(child: Child) -> None:
    parts = await open_webhooks(child)
    child.essential(parts.listen())
    serving = child.essential(asyncio.create_task(parts.webhooks.run(), name="webhooks"))
    with suppress(OSError):  # a system may forbid it
        os.nice(_NICE)
    child.ready()
    await child.stopping.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await parts.webhooks.stop()
    await parts.close()
