"""The application: which path is whose, behind the same gates for all of them."""

from aiohttp import web

from control_api.access.tokens import Access
from control_api.books import events, queues, tags
from control_api.dependencies import DEPENDENCIES, Dependencies
from control_api.description import document as openapi
from control_api.http.bodies import MAX_BODY
from control_api.http.middleware import OPEN_PATHS, add_headers, answer_problems, orders_first, require_token
from control_api.messages import resource as messages
from control_api.node import health, metrics, store, workers
from control_api.rules import forced_errors, pauses
from control_api.rules.resource import routes
from mta.model.rules import Kind


def create_app(deps: Dependencies) -> web.Application:
    """An application that is not started yet; `deps` must be open when its first request comes."""
    app = web.Application(
        middlewares=[
            answer_problems,
            require_token(Access(deps.tokens), _open_paths(deps), deps.api.listen.is_loopback),
            orders_first(deps.turns),
        ],
        client_max_size=MAX_BODY,
    )
    app[DEPENDENCIES] = deps
    app[events.WATCHERS] = set()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(events.release_watchers)
    app.add_routes(
        [
            web.get("/healthz", health.healthz),
            web.get("/readyz", health.readyz),
            web.get(metrics.PATH, metrics.show),
            web.get("/openapi.json", openapi.show),
            *routes(forced_errors.RESOURCE, Kind.ERROR),
            web.post("/v1/errors/{id}/undo", forced_errors.undo),
            *routes(pauses.RESOURCE, Kind.PAUSE),
            web.post("/v1/pauses/{id}/convert", pauses.convert),
            web.get("/v1/messages/{id}", messages.show_message),
            web.post("/v1/messages/{id}/cancel", messages.cancel_message),
            web.get("/v1/tags", tags.find_tag),
            web.get("/v1/tags/{tag}", tags.show_tag),
            web.get("/v1/queues", queues.list_queues),
            web.get("/v1/workers", workers.list_workers),
            web.post("/v1/store/acknowledge", store.acknowledge),
            web.get("/v1/events", events.stream_events, allow_head=False),
        ]
    )
    return app


def _open_paths(deps: Dependencies) -> frozenset[str]:
    """What is answered without a token. Metrics name rules and nodes: off loopback they need one."""
    return OPEN_PATHS | {metrics.PATH} if deps.api.metrics_open and deps.api.listen.is_loopback else OPEN_PATHS
