"""The gate of the API: it demands a token with the scope that the operation declares, and notes the actor."""

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from control_api.access.actor import ACTOR
from control_api.access.tokens import Access
from control_api.http.middleware import Handler
from control_api.http.operation import Operation
from control_api.http.problems import Problem
from mta.model.actor import Actor
from mta.model.audit import DENIED, Deed
from mta.model.errors import StoreError
from mta.model.text import visible
from mta.ports.audit import Audit

_LONGEST = 200  # characters of a path in the audit
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.]+))(?::[0-9]{1,5})?")  # RFC 3986 3.2.2, without zones


def require_token(
    access: Access, audit: Audit, operations: Iterable[Operation], open_paths: Collection[str], loopback: bool
) -> Middleware:
    """Require a token for every path that is not in `open_paths`, unknown paths included, so that no client can map the
    API without one; and of its token the scope that the operation declares. `loopback`: the API listens on loopback
    only. A request whose `Host` names another machine may then come from a web page in a local browser (DNS rebinding),
    so it needs a token on open paths, too."""
    rights = Rights(operations)

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_path not in open_paths:
            request[ACTOR] = actor = await access.check(request)
            try:
                route = request.match_info.route
                if route.resource is not None and route.method != hdrs.METH_ANY:  # else nothing serves it: 404 or 405
                    rights.require(request.method, route.resource.canonical, actor)
                return await handler(request)
            except Problem as problem:
                if problem.status == 403 and request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
                    await _note_denied(audit, actor, request, problem)
                raise
        elif loopback and not names_this_machine(request.headers.getall(hdrs.HOST, [])):
            if hdrs.AUTHORIZATION not in request.headers:
                raise Problem(403, "names another host than this machine; use localhost, or give a token", "Host")
            request[ACTOR] = await access.check(request)
        return await handler(request)

    return authenticate


async def _note_denied(audit: Audit, actor: Actor, request: web.Request, problem: Problem) -> None:
    """An order that the token may not give is in the audit, too, where the store takes it."""
    of = f"{request.method} {visible(request.rel_url.raw_path)[:_LONGEST]}"
    with contextlib.suppress(StoreError):
        await audit.note(actor, Deed("order.denied", of, tenant=actor.tenant, reason=str(problem), result=DENIED))


class Rights:
    """The scope that each route needs."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations = {(operation.method, operation.path): operation for operation in operations}

    def require(self, method: str, path: str, actor: Actor) -> None:
        """Raises Problem 403 where the token has not the scope of the operation with this path (as it was declared), or
        where it is bound to a tenant and the operation is about more than one tenant."""
        method = hdrs.METH_GET if method == hdrs.METH_HEAD else method
        operation = self._operations.get((method, path))
        if operation is None:
            raise Problem(403, "no token may use this resource")  # a route that declares no scope is nobody's
        if operation.scope is None:
            return
        if not actor.may(operation.scope):
            raise Problem(403, f"the token lacks the scope {operation.scope}")
        if actor.tenant and not operation.for_tenants:
            raise Problem(403, f"the token is bound to tenant {actor.tenant}, and this concerns the whole cluster")


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
