"""Making a connection that is ready for MAIL: source address, greeting, EHLO or HELO, STARTTLS; by aiosmtplib."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast

import aiosmtplib

from mta.egress.sending_ips import Source
from mta.egress.targets import Target
from mta.model.outcomes import Reply
from mta.model.phases import Phase
from mta.model.settings import DeliverySettings
from mta.policy.failures import Trouble, broken, refused
from mta.smtp.client_machine import Extensions
from mta.smtp.reply_parser import BadReply, ReplyParser

Greeted = Callable[[], Awaitable[None]]

_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


class Line(NamedTuple):
    """An open connection, before its first transaction."""

    transport: asyncio.Transport
    raw: asyncio.Transport | None  # below TLS: its buffer holds what the TLS layer has let go of
    extensions: Extensions
    mta: str
    host: str
    ip: str
    tls: str


class Dialer:
    """Opens lines; the certificate is not verified (opportunistic TLS, RFC 7435), only required to work."""

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def dial(self, target: Target, source: Source, greeted: Greeted) -> Line | Trouble:
        """One address. Where TLS is opportunistic and fails, a new connection goes on without it. `greeted` is awaited
        after each greeting."""
        line = await self._attempt(target, source, self._settings.tls != "none", greeted)
        if isinstance(line, Trouble) and line.phase is Phase.TLS and self._settings.tls == "opportunistic":
            line = await self._attempt(target, source, False, greeted)
        return line

    async def _attempt(self, target: Target, source: Source, tls: bool, greeted: Greeted) -> Line | Trouble:
        sock = await self._connect(target, source)
        if isinstance(sock, Trouble):
            return sock
        client = aiosmtplib.SMTP(
            sock=sock,
            hostname=target.host,
            local_hostname=source.ehlo,
            timeout=self._settings.command_timeout,
            start_tls=False,
            tls_context=self._tls,
        )
        try:
            line = await self._prepare(client, target, tls, greeted)
        except BaseException:
            client.close()
            sock.close()
            raise
        if isinstance(line, Trouble):
            client.close()
        return line

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
            await asyncio.wait_for(
                loop.sock_connect(sock, (target.ip, target.port)), self._settings.connect_timeout or None
            )
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

    async def _prepare(self, client: aiosmtplib.SMTP, target: Target, tls: bool, greeted: Greeted) -> Line | Trouble:
        settings = self._settings
        phase = Phase.GREETING
        raw: asyncio.Transport | None = None
        try:
            await client.connect(timeout=settings.greeting_timeout)
            await greeted()
            phase = Phase.EHLO
            await self._hello(client)
            if tls and (settings.tls == "required" or client.supports_extension("starttls")):
                phase = Phase.TLS
                raw = cast(asyncio.Transport, client.transport)
                await client.starttls(server_hostname=target.host)
                phase = Phase.EHLO
                await self._hello(client)
        except aiosmtplib.SMTPResponseException as answer:
            if answer.code < 400:
                return broken(phase, f"unexpected reply: {answer.message[:200]}", target.host, target.ip)
            return refused(phase, _reply(answer.code, answer.message), target.host, target.ip)
        except aiosmtplib.SMTPTimeoutError:
            return broken(phase, f"timed out {phase.value}", target.host, target.ip)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return broken(phase, f"{phase.value} failed: {error}", target.host, target.ip)
        return _line(client, target, raw)

    async def _hello(self, client: aiosmtplib.SMTP) -> None:
        """EHLO; where it is not known, HELO (RFC 5321 3.2)."""
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError as refusal:
            if refusal.code not in (500, 501, 502, 504, 550) or not client.is_connected:
                raise
            await client.helo()


def _line(client: aiosmtplib.SMTP, target: Target, raw: asyncio.Transport | None) -> Line | Trouble:
    transport = cast(asyncio.Transport | None, client.transport)
    if transport is None or transport.is_closing():
        return broken(Phase.EHLO, "the connection was lost", target.host, target.ip)
    offered = client.esmtp_extensions
    size = offered.get("size")
    limit = None if size is None else int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0
    secure = transport.get_extra_info("ssl_object")
    return Line(
        transport=transport,
        raw=raw,
        extensions=Extensions("pipelining" in offered, "8bitmime" in offered, limit),
        mta=str(transport.get_extra_info("sockname")[0]),
        host=target.host,
        ip=target.ip,
        tls=f"{secure.version()} {secure.cipher()[0]}" if secure is not None else "",
    )


def _reply(code: int, message: str) -> Reply:
    """aiosmtplib's reply as ours: enhanced code taken out, lines joined, foreign bytes made visible."""
    text = message.encode("utf-8", "surrogateescape").replace(b"\r", b"")
    lines = text.split(b"\n")[:64]
    wire = b"".join(b"%d-%s\r\n" % (code, line) for line in lines[:-1]) + b"%d %s\r\n" % (code, lines[-1])
    try:
        return ReplyParser().feed(wire)[0]
    except BadReply:
        return Reply(code, "", text[:200].decode("utf-8", "backslashreplace"))
