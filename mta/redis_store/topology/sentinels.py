"""The sentinels of a replicated store: they agree on which server is its master."""

import contextlib
from typing import Any

from redis.asyncio.sentinel import Sentinel
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, ResponseError, TimeoutError

from mta.model.store_urls import SentinelUrl

Address = tuple[str, int]


class Sentinels:
    """Asked one after the other; one that knew the master is asked first the next time."""

    def __init__(self, where: SentinelUrl, options: dict[str, Any]) -> None:
        """`options` are those of the connections to them."""
        self._master = where.master
        self._known: Any = Sentinel(where.sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    async def master(self) -> Address:
        """Host and port of the master. Raises ConnectionError that says why each of them names none."""
        sentinels, faults = self._known.sentinels, list[str]()
        for at, sentinel in enumerate(sentinels):
            try:
                state = await sentinel.sentinel_master(self._master)
            except AuthenticationError as error:
                faults.append(f"{_name(sentinel)} wants sentinel_password in redis.url: {error}")
            except (ConnectionError, TimeoutError, OSError) as error:
                faults.append(f"{_name(sentinel)} does not answer: {error}")
            except ResponseError as error:
                faults.append(f"{_name(sentinel)} says: {error}")
            else:
                if self._known.check_master_state(state, self._master):
                    sentinels.insert(0, sentinels.pop(at))
                    return str(state["ip"]), int(state["port"])
                faults.append(f"{_name(sentinel)} sees it down")
        raise ConnectionError(f"no sentinel in redis.url names a master {self._master!r} ({'; '.join(faults)})")

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):  # they were only asked, so nothing is lost
            await self._known.aclose()


def _name(sentinel: Any) -> str:
    options = sentinel.connection_pool.connection_kwargs
    return f"{options['host']}:{options['port']}"
