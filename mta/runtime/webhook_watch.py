"""The watch for webhook endpoints: a node has a process that serves them only once there are some."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from mta.model.errors import StoreError

_LOOK_EVERY: Final = 1.0  # seconds

log = logging.getLogger(__name__)


async def until_endpoints(there_are_some: Callable[[], Awaitable[bool]]) -> None:
    """Return once this node has endpoints to serve."""
    while True:
        try:
            if await there_are_some():
                return
        except StoreError as error:
            log.debug("it is not known whether there are webhooks: %s", error)
        await asyncio.sleep(_LOOK_EVERY)
