"""Questions about records that an operator looks after: TXT, addresses, MX and PTR, never answered from a cache."""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiodns
import pycares

from mta.ports.dns_records import Found

_TIMEOUT: Final = 5.0  # seconds for a question, all tries together
_FIRST_WAIT: Final = 1.0
_MOST: Final = 50  # questions at a time
_NOTHING: Final = (aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME)


class AskedRecords:
    """Fulfils ports.dns_records.DnsRecords. `servers`: "ip" or "ip:port"; none = those of the system."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._servers = list(servers)
        self._client: aiodns.DNSResolver | None = None
        self._turns = asyncio.Semaphore(_MOST)

    async def texts(self, name: str) -> Found:
        return await self._ask(name, "TXT", lambda data: _text(data.data))

    async def addresses(self, name: str) -> Found:
        six, four = [await self._ask(name, kind, lambda data: str(data.addr)) for kind in ("AAAA", "A")]
        records = six.records + four.records
        return Found(records, "" if records else six.failure or four.failure)

    async def hosts(self, domain: str) -> Found:
        found = await self._ask(domain, "MX", lambda data: f"{data.priority:05d} {_text(data.exchange)}")
        return Found(tuple(host.partition(" ")[2].rstrip(".").lower() for host in sorted(found.records)), found.failure)

    async def names(self, address: str) -> Found:
        name = ipaddress.ip_address(address).reverse_pointer
        return await self._ask(name, "PTR", lambda data: _text(data.dname).rstrip(".").lower())

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _ask(self, name: str, kind: str, shown: Callable[[Any], str]) -> Found:
        if self._client is None:
            self._client = aiodns.DNSResolver(self._servers or None, timeout=_FIRST_WAIT, tries=3)
        try:
            async with self._turns, asyncio.timeout(_TIMEOUT):
                result = await self._client.query_dns(name, kind)
        except TimeoutError:
            return Found(failure=f"no answer in {_TIMEOUT:g} s")
        except UnicodeError:
            return Found(failure="it is no name that DNS can have")
        except aiodns.error.DNSError as error:
            if error.args and error.args[0] in _NOTHING:
                return Found()
            return Found(failure=str(error.args[1]) if len(error.args) > 1 else str(error))
        wanted = getattr(pycares, f"QUERY_TYPE_{kind}")
        return Found(tuple(shown(record.data) for record in result.answer if record.type == wanted))


def _text(raw: str | bytes) -> str:
    return raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
