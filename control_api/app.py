"""The application: all operations behind the same gates."""

from aiohttp import web

from control_api.access.gate import require_token
from control_api.access.tokens import Access
from control_api.books import events
from control_api.dependencies import DEPENDENCIES, Dependencies
from control_api.description import document
from control_api.http.bodies import MAX_BODY
from control_api.http.middleware import add_headers, answer_problems, orders_first
from control_api.http.operation import Opening
from control_api.operations import operations

_DESCRIPTION = "/openapi.json"


def create_app(deps: Dependencies) -> web.Application:
    """An application that is not started yet; `deps` must be open when its first request comes."""
    app = web.Application(
        middlewares=[
            answer_problems,
            require_token(Access(deps.tokens), operations(), _open_paths(deps), deps.api.listen.is_loopback),
            orders_first(deps.turns),
        ],
        client_max_size=MAX_BODY,
    )
    app[DEPENDENCIES] = deps
    app[events.WATCHERS] = set()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(events.release_watchers)
    app.add_routes(operation.route() for operation in operations())
    app.add_routes([web.get(_DESCRIPTION, document.show)])
    return app


def _open_paths(deps: Dependencies) -> frozenset[str]:
    """The paths that need no token. Metrics name rules and nodes: off loopback they need one."""
    openings = {Opening.OPEN}
    if deps.api.metrics_open and deps.api.listen.is_loopback:
        openings.add(Opening.METRICS)
    return frozenset({_DESCRIPTION, *(operation.path for operation in operations() if operation.opening in openings)})
