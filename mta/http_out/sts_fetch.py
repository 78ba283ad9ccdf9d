"""The MTA-STS policies of domains over HTTPS: no redirect, a bounded answer, no private address (RFC 8461 3.3)."""

import asyncio
import socket
import ssl
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mta.policy.mta_sts import LARGEST_POLICY
from mta.policy.public_addresses import is_public
from mta.ports.delivery import Resolver
from mta.ports.mta_sts import Fetched

_TIMEOUT: Final = 60.0  # seconds, RFC 8461 3.3
_AT_ONCE: Final = 50
_HTTPS: Final = 443


class StsHosts:
    """Fulfils ports.mta_sts.StsFetcher."""

    def __init__(self, resolver: Resolver, port: int, ca_file: str, timeout: float = _TIMEOUT) -> None:
        """With another port than 443 the operator has chosen the server, so that it may have a private address."""
        self._port = port
        self._limit = aiohttp.ClientTimeout(total=timeout)
        connector = aiohttp.TCPConnector(
            resolver=_Addresses(resolver, only_public=port == _HTTPS),
            ssl=ssl.create_default_context(cafile=ca_file or None),
            limit=_AT_ONCE,
            force_close=True,
            use_dns_cache=False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "Floodgate"}
        )

    async def fetch(self, domain: str) -> Fetched:
        url = f"https://mta-sts.{domain}:{self._port}/.well-known/mta-sts.txt"
        try:
            async with self._session.get(url, allow_redirects=False, timeout=self._limit) as answer:
                if answer.status != 200:
                    return Fetched(failure=f"the policy host answers {answer.status}")
                if answer.content_type != "text/plain":
                    return Fetched(failure=f"the policy host answers {answer.content_type!r:.80}, not text/plain")
                text = b""
                async for piece in answer.content.iter_any():
                    text += piece
                    if len(text) > LARGEST_POLICY:
                        return Fetched(failure=f"the policy has more than {LARGEST_POLICY} bytes")
                return Fetched(text.decode("utf-8"))
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            return Fetched(failure=_words(error), bad_certificate=True)
        except TimeoutError:
            return Fetched(failure=f"no answer in {self._limit.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Fetched(failure=_words(error))

    async def close(self) -> None:
        await self._session.close()
        await asyncio.sleep(0)


class _Addresses(AbstractResolver):
    """The addresses of a policy host, by the resolver that mail uses."""

    def __init__(self, resolver: Resolver, *, only_public: bool) -> None:
        self._resolver = resolver
        self._only_public = only_public

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answer = await self._resolver.addresses(host)
        usable = [ip for ip in answer.addresses if not self._only_public or is_public(ip)]
        if not usable:
            raise OSError(None, answer.failure or f"{host} has no public address")
        return [
            ResolveResult(
                hostname=host,
                host=ip,
                port=port,
                family=socket.AF_INET6 if ":" in ip else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for ip in usable
        ]

    async def close(self) -> None:
        """The resolver is closed by its owner."""


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
