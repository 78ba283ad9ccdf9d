"""The application: all operations behind the same gates."""

from collections.abc import Collection, Iterator

from aiohttp import hdrs, web

from control_api.access.gate import require_token
from control_api.access.repeats import carried_out_once
from control_api.access.tokens import Access
from control_api.books import events
from control_api.dependencies import DEPENDENCIES, Dependencies
from control_api.description import document
from control_api.http.bodies import MAX_BODY
from control_api.http.middleware import Handler, add_headers, answer_problems, orders_first
from control_api.http.operation import Opening
from control_api.injection.forward import FORWARDER, Forwarder
from control_api.operations import operations
from control_api.rules.before_counts import BEFORE, BeforeCounts, stop_counting
from control_api.rules.kept_accounts import KEPT, KeptAccounts, stop_keeping

_DESCRIPTION = "/openapi.json"


def create_app(deps: Dependencies) -> web.Application:
    """An application that is not started yet; `deps` must be open when its first request comes."""
    access = Access(deps.tokens, deps.api.token_rate, inject_rate=deps.api.inject_rate)
    app = web.Application(
        middlewares=[
            answer_problems,
            require_token(access, deps.audit, operations(), _open_paths(deps), deps.api.listen.is_loopback),
            carried_out_once(deps.answers),
            orders_first(deps.turns),
        ],
        client_max_size=MAX_BODY,
    )
    app[DEPENDENCIES] = deps
    app[events.WATCHERS] = set()
    app[BEFORE] = BeforeCounts(deps.history, deps.turns)
    app[KEPT] = KeptAccounts(deps)
    app[FORWARDER] = forwarder = Forwarder(deps.inject_socket)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(events.release_watchers)
    app.on_shutdown.append(stop_counting)
    app.on_shutdown.append(stop_keeping)
    app.on_cleanup.append(forwarder.close)
    app.add_routes(operation.route() for operation in operations())
    app.add_routes(_words_among_ids())
    app.add_routes([web.get(_DESCRIPTION, document.show)])
    return app


def _words_among_ids() -> Iterator[web.RouteDef]:
    """A path such as /v1/errors/preview stands where /v1/errors/{id} has an id: other methods of it are refused, since
    nothing has that id or name."""
    methods: dict[str, set[str]] = {}
    for operation in operations():
        methods.setdefault(operation.path, set()).add(operation.method)
    of_one = {path.rpartition("/")[0] for path in methods if path.endswith("}")}
    for path, allowed in methods.items():
        if path.rpartition("/")[0] in of_one and not path.endswith("}"):
            yield web.route(hdrs.METH_ANY, path, _only(allowed | ({"HEAD"} if "GET" in allowed else set())))


def _only(allowed: Collection[str]) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


def _open_paths(deps: Dependencies) -> frozenset[str]:
    """The paths that need no token. Metrics name rules and nodes: off loopback they need one."""
    openings = {Opening.OPEN}
    if deps.api.metrics_open and deps.api.listen.is_loopback:
        openings.add(Opening.METRICS)
    return frozenset({_DESCRIPTION, *(operation.path for operation in operations() if operation.opening in openings)})
