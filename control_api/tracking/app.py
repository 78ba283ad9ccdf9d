"""The application of the listener: it answers with the pixel, leads on to signed links, and says no to all else."""

import ipaddress
from collections.abc import Sequence
from typing import Final

from aiohttp import hdrs, web

from control_api.tracking.unsubscribing import Unsubscribing
from control_api.tracking.visits import Visitor, Visits
from mta.content.tracking_links import TrackingLinks
from mta.model.engagement import Engagement, TrackedMail
from mta.policy.machine_visits import machine_of
from mta.timing.clock import wall_seconds

# A transparent GIF of one pixel.
PIXEL: Final = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store, max-age=0",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_PURPOSES: Final = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Listener:
    """The handlers."""

    def __init__(self, links: TrackingLinks, visits: Visits, trusted: Sequence[str]) -> None:
        """`trusted` are the networks of proxies."""
        self._links = links
        self._visits = visits
        self._trusted: list[Network] = [ipaddress.ip_network(network, strict=False) for network in trusted]

    def app(self, path: str, unsubscribing: Unsubscribing | None = None) -> web.Application:
        """`path` is that of `tracking.url`: a proxy may leave it or take it away."""
        app = web.Application()
        for base in dict.fromkeys((path.rstrip("/"), "")):
            app.router.add_get(f"{base}/{Engagement.OPEN}/{{mail}}.gif", self.open)
            if unsubscribing is not None:
                app.router.add_get(f"{base}/{Engagement.UNSUBSCRIBE}/{{mail}}", unsubscribing.show)
                app.router.add_post(f"{base}/{Engagement.UNSUBSCRIBE}/{{mail}}", unsubscribing.take)
            app.router.add_get(f"{base}/{Engagement.CLICK}/{{mail}}/{{link}}", self.click)
        app.on_response_prepare.append(_add_headers)
        return app

    async def open(self, request: web.Request) -> web.Response:
        """The pixel, whatever it is asked for with: a broken image in a mail would help nobody."""
        mail = self._links.read_mail(request.match_info["mail"])
        if mail is not None:
            self._visits.open(mail, self._visitor(request, mail))
        return web.Response(body=PIXEL, content_type="image/gif")

    async def click(self, request: web.Request) -> web.Response:
        """302 to the address of a link that a node of this cluster made; 404 for all others."""
        text, mail = request.match_info["mail"], None
        link = self._links.read_link(text, request.match_info["link"])
        if link is not None:
            mail = self._links.read_mail(text)
        if link is None or mail is None:
            return web.Response(status=404, text="This link is not complete. Copy it from the mail as a whole.\n")
        self._visits.click(mail, self._visitor(request, mail), link)
        return web.Response(status=302, headers={hdrs.LOCATION: link})

    def _visitor(self, request: web.Request, mail: TrackedMail) -> Visitor:
        agent = request.headers.get(hdrs.USER_AGENT, "")
        purpose = " ".join(request.headers.get(name, "") for name in _PURPOSES)
        age = wall_seconds() - mail.made_at
        return Visitor(self.address(request), agent, machine_of(request.method, agent, purpose, age))

    def address(self, request: web.Request) -> str:
        """The reader's address: that of the peer, or the one that a trusted proxy saw."""
        peer = request.remote or ""
        if not self._trusts(peer):
            return peer
        for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
            address = _plain(hop)
            if not address:
                break
            peer = address
            if not self._trusts(address):
                break
        return peer

    def _trusts(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def _plain(hop: str) -> str:
    """ "" for what is no IP address."""
    try:
        return str(ipaddress.ip_address(hop.strip().strip("[]")))
    except ValueError:
        return ""


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
