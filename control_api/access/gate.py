"""The gate of the API: which requests need a token, and who asks with one."""

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
    """Deny by default: unknown paths need a token too, so that nobody maps the API without one. `loopback`: the API
    listens for this machine only, so a request that names another host comes from a page that a browser here shows
    under a name which leads here (DNS rebinding); it gets nothing without a token either."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_path not in open_paths:
            request[ACTOR] = await access.check(request)
        elif loopback and not names_this_machine(request.headers.getall(hdrs.HOST, [])):
            if hdrs.AUTHORIZATION not in request.headers:
                raise Problem(403, "names another host than this machine; ask localhost, or give a token", "Host")
            request[ACTOR] = await access.check(request)
        return await handler(request)

    return check


def names_this_machine(hosts: Collection[str]) -> bool:
    """Whether the one `Host` is localhost or an IP address: a page under another name cannot send that."""
    return len(hosts) <= 1 and all(_is_here(host) for host in hosts)


def _is_here(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    six, name = found.groups()
    try:
        ipaddress.IPv6Address(six) if six else name.lower() == "localhost" or ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
