"""The gate of the API: it demands a token of a request, and notes the actor of a valid one."""

import ipaddress
import re
from collections.abc import Collection

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from control_api.access.actor import ACTOR
from control_api.access.tokens import Access
from control_api.http.middleware import Handler
from control_api.http.problems import Problem

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.]+))(?::[0-9]{1,5})?")  # RFC 3986 3.2.2, without zones


def require_token(access: Access, open_paths: Collection[str], loopback: bool) -> Middleware:
    """Require a token for every path that is not in `open_paths`, unknown paths included, so that no client can map the
    API without one. `loopback`: the API listens on loopback only. A request whose `Host` names another machine may then
    come from a web page in a local browser (DNS rebinding), so it needs a token on open paths, too."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_path not in open_paths:
            request[ACTOR] = await access.check(request)
        elif loopback and not names_this_machine(request.headers.getall(hdrs.HOST, [])):
            if hdrs.AUTHORIZATION not in request.headers:
                raise Problem(403, "names another host than this machine; use localhost, or give a token", "Host")
            request[ACTOR] = await access.check(request)
        return await handler(request)

    return authenticate


def names_this_machine(hosts: Collection[str]) -> bool:
    """Whether `Host` is localhost or an IP address. A browser sends neither for a page of another host name."""
    return len(hosts) <= 1 and all(_is_local_name(host) for host in hosts)


def _is_local_name(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    six, name = found.groups()
    try:
        ipaddress.IPv6Address(six) if six else name.lower() == "localhost" or ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
