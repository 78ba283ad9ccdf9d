"""What every request passes: its id, the token, and the translation of what went wrong into an answer."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

from control_api.access import Access
from control_api.problems import Problem, problem_response
from mta.model.errors import BadValue, OldReaders, StoreError, StoreFull, UnreadableRule

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
RETRY_AFTER = "1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
REQUEST_ID = web.RequestKey("request_id", str)

_WORDS = {
    404: "there is no such resource",
    405: "this resource does not take that method; see Allow",
    413: "the body is larger than 1 MiB",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, streams included (`on_response_prepare`)."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or secrets.token_hex(8)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: no exception leaves it, and none shows its insides."""
    request_id = request[REQUEST_ID] = secrets.token_hex(8)
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem.status, str(problem), request_id, problem.field, problem.headers)
    except BadValue as bad:
        return problem_response(400, bad.reason, request_id, bad.field)
    except (OldReaders, UnreadableRule) as conflict:
        return problem_response(409, str(conflict), request_id)
    except StoreFull:
        return _away(request_id, "the store is full")
    except StoreError as trouble:
        return _away(request_id, f"the store cannot be used now: {trouble}")
    except web.HTTPException as refused:
        words = _WORDS.get(refused.status, refused.reason)
        headers = {name: refused.headers[name] for name in ("Allow",) if name in refused.headers}
        return problem_response(refused.status, words, request_id, None, headers)
    except Exception:
        log.exception("request %s (%s %s) failed", request_id, request.method, request.rel_url.raw_path)
        return problem_response(500, "an error of ours; the log of the API names it by the request id", request_id)


def _away(request_id: str, message: str) -> web.Response:
    return problem_response(503, message, request_id, None, {"Retry-After": RETRY_AFTER})


def require_token(access: Access, open_paths: Collection[str]) -> Middleware:
    """Deny by default: unknown paths need a token too, so that nobody maps the API without one."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_path not in open_paths:
            await access.check(request)
        return await handler(request)

    return check
