"""Making a connection that is ready for MAIL: source address, connecting, and the handshake with or without TLS."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable

import msgspec

from mta.egress.handshake import Failed, Handshake
from mta.egress.sending_ips import Source
from mta.egress.targets import Target
from mta.model.phases import Phase
from mta.model.settings import DeliverySettings
from mta.policy.failures import Trouble, broken
from mta.smtp.client_machine import Extensions
from mta.smtp.spoken import bounded

Greeted = Callable[[], Awaitable[None]]

_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
_PLAIN_FOR = 3600.0  # seconds that a host which closes the connection at EHLO is greeted with HELO
_MOST_PLAIN = 10_000  # such hosts remembered


class ReadyConnection(msgspec.Struct, frozen=True):
    """An open connection that is ready for MAIL, and its two ends."""

    transport: asyncio.Transport
    raw: asyncio.Transport | None  # below TLS: its buffer holds what the TLS layer has let go of
    extensions: Extensions
    mta: str  # our IP address
    host: str  # the peer's name, or its address where it has none
    ip: str  # the peer's address
    tls: str
    opening: tuple[str, ...] = ()  # the lines of the handshake, for the dialogue of an attempt that fails


class Dialer:
    """Opens connections; the certificate is not verified (opportunistic TLS, RFC 7435), only required to work."""

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._plain: dict[tuple[str, int], float] = {}  # address -> loop time until which EHLO is not tried

    async def dial(self, target: Target, source: Source, greeted: Greeted) -> ReadyConnection | Trouble:
        """One address. Where TLS is opportunistic and fails, a new connection goes on without it. `greeted` is awaited
        after each greeting."""
        found = await self._attempt(target, source, self._settings.tls != "none", greeted)
        if isinstance(found, Trouble) and found.phase is Phase.TLS and self._settings.tls == "opportunistic":
            found = await self._attempt(target, source, False, greeted)
        return found

    async def _attempt(self, target: Target, source: Source, tls: bool, greeted: Greeted) -> ReadyConnection | Trouble:
        sock = await self._connect(target, source)
        if isinstance(sock, Trouble):
            return sock
        try:
            return await self._prepare(target, source, sock, tls, greeted)
        except Failed as failure:
            return failure.trouble
        except OSError as error:
            return broken(Phase.GREETING, f"{Phase.GREETING.value} failed: {error}", target.host, target.ip)

    async def _connect(self, target: Target, source: Source) -> socket.socket | Trouble:
        sock = socket.socket(socket.AF_INET6 if ":" in target.ip else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source.ip:
                # Without it a bind takes one of 28,000 ports for all destinations together (ip(7)).
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source.ip, 0))
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self._settings.connect_timeout or None):
                await loop.sock_connect(sock, (target.ip, target.port))
        except TimeoutError:
            sock.close()
            seconds = self._settings.connect_timeout
            return broken(Phase.CONNECT, f"no answer from port {target.port} in {seconds:g} s", target.host, target.ip)
        except OSError as error:
            sock.close()
            where = f"from {source.ip} " if source.ip else ""
            # The loop's own words ("Connect call failed ('192.0.2.1', 25)") would not say why.
            why = os.strerror(error.errno) if error.errno else str(error)
            words = f"cannot connect {where}to port {target.port}: {why}"
            return broken(Phase.CONNECT, words, target.host, target.ip)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _prepare(
        self, target: Target, source: Source, sock: socket.socket, tls: bool, greeted: Greeted
    ) -> ReadyConnection:
        """Raises Failed."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        peer = target.ip, target.port
        handshake = Handshake(target.host, target.ip, settings.command_timeout)
        try:
            await loop.create_connection(lambda: handshake, sock=sock)
        except BaseException:
            sock.close()
            raise
        try:
            await handshake.greeting(settings.greeting_timeout)
            await greeted()
            plain = self._plain.get(peer, 0.0) > loop.time()
            await handshake.hello(source.ehlo, plain)
            if tls and (settings.tls == "required" or handshake.offers_tls):
                await handshake.start_tls(self._tls)
                await handshake.hello(source.ehlo, plain=False)
            handshake.ready()
        except BaseException as failure:
            handshake.close()
            if isinstance(failure, Failed):
                failure.trouble = failure.trouble._replace(dialogue=bounded(handshake.dialogue))
            if isinstance(failure, Failed) and failure.hello_refused:
                if len(self._plain) >= _MOST_PLAIN:
                    self._plain.clear()
                self._plain[peer] = loop.time() + _PLAIN_FOR
            raise
        return _ready(handshake, target)


def _ready(handshake: Handshake, target: Target) -> ReadyConnection:
    transport = handshake.transport
    secure = transport.get_extra_info("ssl_object")
    return ReadyConnection(
        transport=transport,
        raw=handshake.raw,
        extensions=handshake.extensions,
        mta=str(transport.get_extra_info("sockname")[0]),
        host=target.host,
        ip=target.ip,
        tls=f"{secure.version()} {secure.cipher()[0]}" if secure is not None else "",
        opening=bounded(handshake.dialogue),
    )
