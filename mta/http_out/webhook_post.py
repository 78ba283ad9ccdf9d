"""Requests to webhook endpoints: no redirect, a bounded answer, no address that is not allowed."""

import asyncio
import ipaddress
import logging
import os
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from mta.http_out.allowed_addresses import AddressRefused, GuardedSockets, guarded
from mta.ports.webhooks import PostAnswer
from mta.timing.clock import wall_seconds

log = logging.getLogger(__name__)

_LARGEST: Final = 64 * 1024  # bytes of an answer after which the connection is closed
_KEEP_ALIVE: Final = 30.0  # seconds
_LONGEST: Final = 200  # characters of a failure
_NAME_KEPT: Final = 1  # seconds for which the address of a name is used again; c-ares keeps it as its TTL says


class WebhookPoster:
    """Fulfils ports.webhooks.Poster."""

    def __init__(self, allow_networks: Sequence[str], timeout: float, dns_servers: Sequence[str] = ()) -> None:
        """`timeout`: seconds for a whole request. `dns_servers`: "ip" or "ip:port"; none = those of the system."""
        allow = [ipaddress.ip_network(network) for network in allow_networks]
        self._sockets = {scheme: GuardedSockets(allow, only_allowed=scheme != "https") for scheme in ("http", "https")}
        self._limit = aiohttp.ClientTimeout(total=timeout, sock_connect=timeout)
        self._timeout = timeout
        self._dns_servers = list(dns_servers)
        self._names: aiohttp.AsyncResolver | None = None
        self._sessions: dict[str, aiohttp.ClientSession] = {}  # by scheme

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        target = URL(url)
        try:
            async with self._session(target.scheme).post(
                target, data=body, headers=headers, allow_redirects=False, timeout=self._limit
            ) as answer:
                found = _judged(answer.status, answer.headers.get("Retry-After", ""))
                await _drain(answer)
                return found
        except TimeoutError:
            return PostAnswer(0, f"no answer within {self._timeout:g} s")
        except aiohttp.ClientConnectorDNSError as error:
            log.info("no connection to %s: %s", target.host, error)
            # As of a private address: a sender does not learn which names exist inside.
            return PostAnswer(0, self._sockets[target.scheme].refusal)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            return PostAnswer(0, f"TLS: {_words(error)}")
        except aiohttp.ClientConnectorError as error:
            log.info("no connection to %s: %s", target.host, error)
            return PostAnswer(0, _unconnected(error, f"no connection to {target.host}:{target.port}"))
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as error:
            return PostAnswer(0, _words(error))

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        if self._names is not None:
            await self._names.close()
        await asyncio.sleep(0)

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        """Without TLS a request goes to allowed addresses only."""
        session = self._sessions.get(scheme)
        if session is None:
            if self._names is None:
                self._names = aiohttp.AsyncResolver(nameservers=self._dns_servers)
            connector = guarded(
                self._sockets[scheme],
                limit=0,
                keepalive_timeout=_KEEP_ALIVE,
                resolver=self._names,
                ttl_dns_cache=_NAME_KEPT,
            )
            session = self._sessions[scheme] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "Floodgate"},
                auto_decompress=False,
                trust_env=False,
            )
        return session


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read what is left of an answer, so that its connection can be used again. The status has decided already."""
    size = 0
    try:
        while piece := await answer.content.readany():
            size += len(piece)
            if size > _LARGEST:
                answer.close()
                return
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        answer.close()


def _judged(status: int, retry_after: str) -> PostAnswer:
    if 200 <= status < 300:
        return PostAnswer(status)
    words = f"HTTP {status}"
    if 300 <= status < 400:
        words += ", a redirect, which is not followed"
    return PostAnswer(status, words, _seconds(retry_after))


def _seconds(text: str) -> float | None:
    """Of a Retry-After (RFC 9110 10.2.3); None: there is none, or none that can be read."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _unconnected(error: aiohttp.ClientConnectorError, words: str) -> str:
    """Without the address that the name has: inside webhooks.allow_networks a sender need not know it either."""
    if isinstance(error.os_error, AddressRefused):
        return _words(error.os_error)
    return f"{words}: {os.strerror(error.os_error.errno)}" if error.os_error.errno else words


def _words(error: BaseException) -> str:
    text = error.strerror if isinstance(error, AddressRefused) else str(error)
    return " ".join(str(text).split())[:_LONGEST] or type(error).__name__
