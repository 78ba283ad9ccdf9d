"""The applications of the process that takes mail: one for what the API forwards, one for clients."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from control_api.access.gate import require_token
from control_api.access.tokens import Access
from control_api.http.middleware import Handler, add_headers, answer_problems
from control_api.injection.door import DOOR, Door, hang_up, inject_message, send_message
from control_api.injection.forward import take_actor
from control_api.injection.operations import INJECT_MESSAGE, INJECTING, SEND_MESSAGE
from mta.ports.access import Tokens
from mta.ports.audit import Audit

_MAX_SIZE: Final = 1024 * 1024  # of what aiohttp reads by itself; bodies are read piece by piece
_HANDLERS: Final[dict[str, Handler]] = {SEND_MESSAGE.name: send_message, INJECT_MESSAGE.name: inject_message}


def forwarded_app(door: Door) -> web.Application:
    """For calls whose token the API has checked."""
    return _app(door, (take_actor,))


def client_app(door: Door, access: Access, audit: Audit, loopback: bool) -> web.Application:
    """For clients; `loopback`: it listens on loopback only."""
    return _app(door, (require_token(access, audit, INJECTING, (), loopback),))


def access_by(tokens: Tokens, rate: float) -> Access:
    """The check of tokens; `rate`: calls a second of one token."""
    return Access(tokens, rate, inject_rate=rate)


def _app(door: Door, gates: Sequence[Middleware]) -> web.Application:
    app = web.Application(middlewares=[answer_problems, *gates, hang_up], client_max_size=_MAX_SIZE)
    app[DOOR] = door
    app.on_response_prepare.append(add_headers)
    app.add_routes(web.route(one.method, one.path, _HANDLERS[one.name]) for one in INJECTING)
    return app
