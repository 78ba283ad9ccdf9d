"""Addresses to which requests to other people's hosts may go (A-13)."""

import asyncio
import socket

import pytest
from aiohttp import web

from mta.http_out.sts_fetch import StsHosts
from mta.http_out.webhook_post import WebhookPoster
from mta.policy.public_addresses import is_public
from mta.ports.delivery import AddressAnswer
from mta.webhooks.literal_address import literal_address


@pytest.mark.parametrize(
    ("ip", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.0.1", False),
        ("224.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),  # 6to4 of 127.0.0.1
        ("64:ff9b::a9fe:a9fe", False),  # NAT64 of 169.254.169.254
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::5db8:d822", False),  # NAT64 of a site
        ("::127.0.0.1", False),
        ("::93.184.216.34", False),  # IPv4-compatible
        ("::ffff:93.184.216.34", True),
        ("::ffff:0:7f00:1", False),  # SIIT
        ("2002:5db8:d822::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),  # Teredo
        ("2001:2::1", False),
        ("2001:10::1", False),
        ("2001:20::1", False),
        ("2001:1ff:ffff::1", False),
        ("2001:200::1", True),
        ("2001:db8::1", False),
        ("2620:4f:8000::1", False),
        ("3fff::1", False),
        ("3fff:1000::1", True),
        ("4000::1", False),
        ("5f00::1", False),
        ("100::1", False),
        ("100:0:0:1::1", False),
        ("fec0::1", False),
        ("fd00:ec2::254", False),
        ("0.1.2.3", False),
        ("100.127.255.255", False),
        ("100.128.0.0", True),
        ("168.63.129.16", False),
        ("168.63.129.17", True),
        ("172.15.255.255", True),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("172.32.0.0", True),
        ("192.0.0.9", False),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("192.31.196.1", False),
        ("192.52.193.1", False),
        ("192.88.99.1", False),
        ("192.175.48.1", False),
        ("198.18.0.1", False),
        ("198.19.255.255", False),
        ("198.51.100.1", False),
        ("203.0.113.1", False),
        ("223.255.255.255", True),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
    ],
)
def test_a13_an_address_is_public_only_if_those_that_it_carries_are(ip: str, public: bool) -> None:
    assert is_public(ip) is public


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1:8443", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::127.0.0.1]:1", "::7f00:1"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("hooks.example.com", None),
        ("127.example", None),
    ],
)
def test_a13_an_address_in_a_url_is_recognised_in_each_notation(host: str, address: str | None) -> None:
    assert literal_address(f"https://{host}/x") == address


class Names:
    """Each host has these addresses; `asked` counts the look-ups."""

    def __init__(self, *ips: str) -> None:
        self.ips, self.asked = ips, 0

    async def addresses(self, host: str) -> AddressAnswer:
        self.asked += 1
        return AddressAnswer(self.ips)


async def test_a13_a_policy_host_at_a_private_address_is_asked_nothing() -> None:
    names = Names("127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1")
    hosts = StsHosts(names, 443, "", timeout=5.0)  # type: ignore[arg-type]
    found = await hosts.fetch("example.com")
    await hosts.close()
    assert "has no public address" in found.failure
    assert names.asked == 1


async def test_a13_a_webhook_reaches_no_private_address_by_name_or_in_another_notation() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await web.SockSite(runner, listening).start()
        port = listening.getsockname()[1]
        poster, allowed = WebhookPoster((), 5.0), WebhookPoster(("127.0.0.0/8",), 5.0)
        hosts = ("localhost", "127.0.0.1", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]")
        for scheme in ("http", "https"):
            for host in hosts:
                refused = await poster.post(f"{scheme}://{host}:{port}/x", b"{}", {})
                assert refused.status == 0, host
        assert asked == []
        assert (await allowed.post(f"http://127.0.0.1:{port}/x", b"{}", {})).status == 200
        for one in (poster, allowed):
            await one.close()
        await runner.cleanup()
        await asyncio.sleep(0)
    assert asked == ["/x"]


async def test_a13_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await web.SockSite(runner, listening).start()
        poster = WebhookPoster(("127.0.0.0/8",), 5.0)
        found = await poster.post(f"http://127.0.0.1:{listening.getsockname()[1]}/hook", b"{}", {})
        await poster.close()
        await runner.cleanup()
    assert found.status == 302
    assert asked == ["/hook"]
