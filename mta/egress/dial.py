"""Making a connection that is ready for MAIL: source address, connecting, and the handshake with or without TLS."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from mta.egress.handshake import Failed, Handshake
from mta.egress.login import Login
from mta.egress.sending_ips import Source
from mta.egress.socket_connect import connected
from mta.egress.targets import Target
from mta.egress.tls_contexts import TlsContexts
from mta.model.phases import Phase
from mta.model.settings import DeliverySettings
from mta.policy.failures import Trouble, broken
from mta.policy.tls import IMPLICIT_PORT, TlsLevel, TlsNeed
from mta.smtp.client_machine import Extensions
from mta.smtp.spoken import Spoken, bounded, in_words

Greeted = Callable[[], Awaitable[None]]

_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
_PLAIN_FOR = 3600.0  # seconds that a host which closes the connection at EHLO is greeted with HELO
_BROKEN_FOR = 3600.0  # seconds for which a STARTTLS that failed is not tried again where clear text may do
_MOST_REMEMBERED = 10_000  # hosts of each kind
_GOODBYE = 421

_Peer = tuple[str, int]  # IP address and port
_Known = TypeVar("_Known")


class ReadyConnection(msgspec.Struct, frozen=True):
    """An open connection that is ready for MAIL, and its two ends."""

    transport: asyncio.Transport
    raw: asyncio.Transport | None  # below TLS: its buffer holds what the TLS layer has let go of
    extensions: Extensions
    mta: str  # our IP address
    host: str  # the peer's name, or its address where it has none
    ip: str  # the peer's address
    tls: str
    opening: Sequence[Spoken] = ()  # the handshake, for the dialogue of an attempt that fails
    route: str = ""  # the name of the route that led here
    tls_failed: str = ""  # the reason for clear text, although the server offered STARTTLS and it was wanted


class Dialer:
    """Opens connections. Where TLS is opportunistic the certificate is not looked at (RFC 7435), and a host whose
    STARTTLS fails gets its mail in clear text."""

    def __init__(self, settings: DeliverySettings, logins: Mapping[str, Login]) -> None:
        """`logins`: by relay."""
        self._settings = settings
        self._logins = logins
        self._contexts = TlsContexts()
        self._plain: dict[_Peer, float] = {}  # address -> loop time until which EHLO is not tried
        self._broken: dict[_Peer, tuple[float, str]] = {}  # -> until when STARTTLS is not tried, and why

    async def dial(self, target: Target, need: TlsNeed, source: Source, greeted: Greeted) -> ReadyConnection | Trouble:
        """One address. Where clear text may do and TLS fails, a new connection goes on without it, but not after a
        421: that host wants no connection now. `greeted` is awaited after each greeting."""
        peer, failed = (target.ip, target.port), ""
        if need.level is TlsLevel.OPPORTUNISTIC:
            until, why = self._broken.get(peer, (0.0, ""))
            failed = why if until > asyncio.get_running_loop().time() else ""
        found = await self._attempt(target, need, source, failed, greeted)
        if not isinstance(found, Trouble) or found.phase is not Phase.TLS:
            return found
        if need.level is TlsLevel.OPPORTUNISTIC:
            failed = found.reply.text or str(found.reply.code)
            _remember(self._broken, peer, (asyncio.get_running_loop().time() + _BROKEN_FOR, failed))
            if found.reply.code != _GOODBYE:
                found = await self._attempt(target, need, source, failed, greeted)
        return found

    async def _attempt(
        self, target: Target, need: TlsNeed, source: Source, tls_failed: str, greeted: Greeted
    ) -> ReadyConnection | Trouble:
        """`tls_failed`: the reason why STARTTLS is not tried, "" = it may be."""
        sock = await self._connect(target, source)
        if isinstance(sock, Trouble):
            return sock
        try:
            return await self._prepare(target, need, source, sock, tls_failed, greeted)
        except Failed as failure:
            return failure.trouble
        except OSError as error:
            words = f"{Phase.GREETING.value} failed: {error}"
            return broken(Phase.GREETING, words, target.host, target.ip)._replace(lost=True)

    async def _connect(self, target: Target, source: Source) -> socket.socket | Trouble:
        sock = socket.socket(socket.AF_INET6 if ":" in target.ip else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if source.ip:
                # Without it a bind takes one of 28,000 ports for all destinations together (ip(7)).
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source.ip, 0))
            await connected(sock, (target.ip, target.port), self._settings.connect_timeout)
        except TimeoutError:
            sock.close()
            seconds = self._settings.connect_timeout
            return broken(Phase.CONNECT, f"no answer from port {target.port} in {seconds:g} s", target.host, target.ip)
        except OSError as error:
            sock.close()
            where = f"from {source.ip} " if source.ip else ""
            why = os.strerror(error.errno) if error.errno else str(error)
            words = f"cannot connect {where}to port {target.port}: {why}"
            return broken(Phase.CONNECT, words, target.host, target.ip)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _prepare(
        self, target: Target, need: TlsNeed, source: Source, sock: socket.socket, tls_failed: str, greeted: Greeted
    ) -> ReadyConnection:
        """Raises Failed."""
        loop = asyncio.get_running_loop()
        handshake = Handshake(target.host, target.ip, self._settings.command_timeout)
        try:
            await loop.create_connection(lambda: handshake, sock=sock)
        except BaseException:
            sock.close()
            raise
        try:
            return await self._shake_hands(handshake, target, need, source, tls_failed, greeted)
        except BaseException as failure:
            handshake.close()
            if isinstance(failure, Failed):
                failure.trouble = failure.trouble._replace(dialogue=bounded(in_words(handshake.dialogue)))
            if isinstance(failure, Failed) and failure.hello_refused:
                _remember(self._plain, (target.ip, target.port), loop.time() + _PLAIN_FOR)
            raise

    async def _shake_hands(
        self, handshake: Handshake, target: Target, need: TlsNeed, source: Source, tls_failed: str, greeted: Greeted
    ) -> ReadyConnection:
        """Raises Failed."""
        implicit = target.port == IMPLICIT_PORT and bool(target.route.relay)
        if implicit:
            await handshake.encrypt(self._contexts.of(need))
        await handshake.greeting(self._settings.greeting_timeout)
        await greeted()
        plain = self._plain.get((target.ip, target.port), 0.0) > asyncio.get_running_loop().time()
        await handshake.hello(source.ehlo, plain)
        wanted = need.level is not TlsLevel.NONE and not implicit
        if wanted and (not need.may_be_clear or (handshake.offers_tls and not tls_failed)):
            await handshake.start_tls(self._contexts.of(need))
            await handshake.hello(source.ehlo, plain=False)
        tls_failed = tls_failed if wanted and handshake.offers_tls else ""
        login = self._logins.get(target.route.relay) if target.route.relay else None
        if login is not None:
            await handshake.log_in(login)
        handshake.ready()
        return _ready(handshake, target, tls_failed)


def _remember(table: dict[_Peer, _Known], peer: _Peer, known: _Known) -> None:
    if len(table) >= _MOST_REMEMBERED:
        table.clear()
    table[peer] = known


def _ready(handshake: Handshake, target: Target, tls_failed: str) -> ReadyConnection:
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
        opening=handshake.dialogue,
        route=target.route.name,
        tls_failed=tls_failed,
    )
