"""Requests to webhook endpoints: the addresses that they may go to, and the answers that they get."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest

from mta.http_out.webhook_post import WebhookPoster
from mta.policy.public_addresses import is_public, is_within
from mta.ports.webhooks import PostAnswer
from tests.support.certificates import Authority
from tests.support.dns_stub import DnsStub
from tests.support.valkey import free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1",
        "64:ff9b::a00:1", "2001:0:7f00:1::",
    ],
)  # fmt: skip
def test_an_address_that_is_not_of_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_a_mapped_address_is_in_the_network_of_the_address_that_it_maps() -> None:
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
    assert is_within("::ffff:10.1.1.1", networks)
    assert is_within("fd00::1", networks)
    assert not is_within("::ffff:11.1.1.1", networks)
    assert not is_within("8.8.8.8", networks)


class Server:
    """A server of bytes on loopback."""

    def __init__(self, serve: Serve) -> None:
        self.connections = 0
        self._serve = serve
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        self._server = await asyncio.start_server(self._count, host, port, **options)

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()


def says(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(answer)
            await writer.drain()

    return serve


@pytest.fixture
async def open_poster() -> AsyncIterator[Callable[..., WebhookPoster]]:
    made: list[WebhookPoster] = []

    def make(*networks: str, timeout: float = 5.0, dns: Sequence[str] = ()) -> WebhookPoster:
        made.append(WebhookPoster(networks, timeout, dns))
        return made[-1]

    yield make
    for poster in made:
        await poster.close()


Open = Callable[..., WebhookPoster]


@pytest.mark.parametrize(
    ("answer", "status", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 500, "HTTP 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", 302,
         "HTTP 302, a redirect, which is not followed"),
    ],
)  # fmt: skip
async def test_the_status_decides(open_poster: Open, answer: bytes, status: int, failure: str) -> None:
    server = Server(says(answer))
    await server.start()
    found = await open_poster("127.0.0.0/8").post(f"http://127.0.0.1:{server.port}/", b"{}", {})
    assert (found.status, found.failure) == (status, failure)
    await server.stop()


async def test_a_connection_is_used_again_and_an_endless_answer_is_cut(open_poster: Open) -> None:
    server, poster = Server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")), open_poster("127.0.0.0/8")
    await server.start()
    for _ in range(5):
        assert (await poster.post(f"http://127.0.0.1:{server.port}/", b"{}", {})).failure == ""
    assert server.connections == 1
    await server.stop()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    server = Server(endless)
    await server.start()
    assert (await poster.post(f"http://127.0.0.1:{server.port}/", b"{}", {})).failure == ""
    await server.stop()


async def test_garbage_silence_and_a_closed_port_are_failures(open_poster: Open) -> None:
    poster = open_poster("127.0.0.0/8", timeout=0.3)
    server = Server(says(b"\0\0garbage\r\n\r\n"))
    await server.start()
    url = f"http://127.0.0.1:{server.port}/"
    assert (await poster.post(url, b"{}", {})).failure
    await server.stop()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = Server(silent)
    await server.start()
    assert (await poster.post(f"http://127.0.0.1:{server.port}/", b"{}", {})).failure == "no answer within 0.3 s"
    await server.stop()
    poster = open_poster("127.0.0.0/8")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = await poster.post(f"http://127.0.0.1:{unused.getsockname()[1]}/", b"{}", {})
        port = unused.getsockname()[1]
        assert found == PostAnswer(0, f"no connection to 127.0.0.1:{port}: Connection refused")
        found = await poster.post(f"http://localhost:{port}/", b"{}", {})
        assert "127.0.0.1" not in found.failure, "a sender does not learn the address of a name"


async def test_no_request_goes_to_an_address_that_no_setting_allows(open_poster: Open) -> None:
    server = Server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    await server.start()
    poster = open_poster("10.0.0.0/8")
    for url in (
        f"http://127.0.0.1:{server.port}/",
        f"http://[::ffff:127.0.0.1]:{server.port}/",
        f"http://localhost:{server.port}/",
        f"https://localhost:{server.port}/",
        f"https://127.0.0.1:{server.port}/",
    ):
        found = await poster.post(url, b"{}", {})
        assert found.status == 0, url
        words = (
            "public address" if url.startswith("https") else "address in webhooks.allow_networks, which http:// needs"
        )
        assert found.failure == f"the name has no {words}", url
    assert server.connections == 0
    await server.stop()


async def test_a_name_that_means_another_address_at_each_look_reaches_none_that_is_refused(
    open_poster: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """DNS rebinding: the name is public when it is looked up first, and loopback when the connection is made."""
    server = Server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    await server.start()

    async def resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    caplog.set_level("INFO")
    found = await open_poster().post(f"https://hooks.example.com:{server.port}/", b"{}", {})
    assert found.failure == "the name has no public address"  # a sender does not learn the address
    assert "no connection to 127.0.0.1: it is no public address" in caplog.text
    assert server.connections == 0
    await server.stop()


async def test_a_name_that_nobody_knows_fails_as_one_inside_does(
    open_poster: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[dict[str, Any]]:
        raise OSError(None, "Name or service not known")

    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    caplog.set_level("INFO")
    assert (await open_poster().post("https://vm/", b"{}", {})).failure == "the name has no public address"
    assert "Name or service not known" in caplog.text


async def test_names_are_looked_up_at_the_servers_that_are_set_and_in_the_hosts_file(open_poster: Open) -> None:
    server = Server(says(b"HTTP/1.1 204 No Content\r\n\r\n"))
    await server.start()
    async with DnsStub() as dns:
        dns.a("hooks.test", "127.0.0.1")
        poster = open_poster("127.0.0.0/8", dns=[dns.address])
        for name in ("hooks.test", "localhost"):
            assert (await poster.post(f"http://{name}:{server.port}/", b"{}", {})).status == 204, name
        found = await poster.post(f"http://other.test:{server.port}/", b"{}", {})
        assert found.failure == "the name has no address in webhooks.allow_networks, which http:// needs"
        asked = {name for name, _ in dns.asked}  # those of a search list of the system, too
        assert asked >= {"hooks.test", "other.test"}
        assert not any(name.startswith("localhost") for name in asked)
    await server.stop()


@pytest.mark.parametrize("inside_first", [False, True])
async def test_a13_a_name_that_rebinds_is_judged_at_each_connection(open_poster: Open, inside_first: bool) -> None:
    allowed, inside = Server(says(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")), Server(says(b""))
    await allowed.start(port=free_port())
    await inside.start("127.77.0.2", allowed.port)
    addresses = ["127.0.0.1", "127.77.0.2"]
    async with DnsStub() as dns:
        dns.a_by_turns("hooks.test", *(reversed(addresses) if inside_first else addresses))
        poster, seen = open_poster("127.0.0.1/32", dns=[dns.address]), list[int]()
        async with asyncio.timeout(60.0):
            while len(set(seen)) < 2:
                seen.append((await poster.post(f"http://hooks.test:{allowed.port}/", b"{}", {})).status)
                await asyncio.sleep(0.02)
    assert seen[0] == (0 if inside_first else 204)
    assert allowed.connections == seen.count(204)
    assert inside.connections == 0
    await allowed.stop()
    await inside.stop()


async def test_tls_is_verified(open_poster: Open, tmp_path: Any) -> None:
    server = Server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    await server.start(ssl=Authority(tmp_path).server("localhost"))
    found = await open_poster("127.0.0.0/8").post(f"https://localhost:{server.port}/", b"{}", {})
    assert found.status == 0
    assert found.failure.startswith("TLS: ")
    await server.stop()


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("120", 120, 120),
        ("in 300 seconds", 290, 301),
        ("soon", None, None),
        ("-5", None, None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(
    open_poster: Open, header: str, low: float | None, high: float | None
) -> None:
    if header.startswith("in "):
        header = formatdate(time.time() + 300, usegmt=True)
    server = Server(says(f"HTTP/1.1 429 No\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode()))
    await server.start()
    found = await open_poster("127.0.0.0/8").post(f"http://127.0.0.1:{server.port}/", b"{}", {})
    if low is None or high is None:
        assert found.retry_after is None
    else:
        assert found.retry_after is not None
        assert low <= found.retry_after <= high
    await server.stop()
