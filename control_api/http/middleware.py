"""The middleware around every request: its id, and the translation of exceptions into answers."""

import logging
import urllib.parse
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from control_api.http.problems import HEADERS, REQUEST_ID_HEADER, Problem, new_request_id, problem_response
from control_api.http.turns import Turns
from mta.model.errors import (
    BadValue,
    HistoryElsewhere,
    HistoryError,
    HistoryOff,
    OldReaders,
    OrderMade,
    OutcomeUnknown,
    StoreError,
    StoreFull,
    UnreadableRule,
)

log = logging.getLogger(__name__)

RETRY_AFTER = "1"
MAIL_PATHS = frozenset({"/v1/messages", "/v1/inject"})  # POST there hands mail in

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)

_WORDS = {
    404: "there is no such resource",
    405: "this resource does not take that method; see Allow",
    413: "the body is larger than 1 MiB",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, streams included (`on_response_prepare`)."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers[REQUEST_ID_HEADER] = request.get(REQUEST_ID) or new_request_id()


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: no exception leaves it, and none shows its insides."""
    request_id = request[REQUEST_ID] = new_request_id()
    try:
        _check_target(request)
        return await handler(request)
    except Problem as problem:
        return problem_response(
            problem.status, str(problem), request_id, problem.field, problem.headers, matched=problem.matched
        )
    except BadValue as bad:
        return problem_response(400, bad.reason, request_id, bad.field)
    except (OldReaders, UnreadableRule) as conflict:
        return problem_response(409, str(conflict), request_id)
    except StoreFull:
        return _away(request_id, "the store is full")
    except OutcomeUnknown as unknown:
        words = f"it is not known whether the order was made, since the store does not answer ({unknown})"
        return _away(request_id, f"{words}; {_where_to_look(request.path)} before you repeat it")
    except OrderMade as made:
        return _away(request_id, f"{made}; {_where_to_look(request.path)}")
    except StoreError as trouble:
        return _away(request_id, f"the store cannot be used now: {trouble}")
    except HistoryError as trouble:
        return _no_history(request_id, trouble)
    except web.HTTPException as refused:
        words = _WORDS.get(refused.status, refused.reason)
        headers = {name: refused.headers[name] for name in ("Allow",) if name in refused.headers}
        return problem_response(refused.status, words, request_id, None, headers)
    except (web.RequestPayloadError, ConnectionError):  # badly framed, or the client has gone
        return problem_response(400, "is not what its framing says, or was cut off", request_id, "body")
    except Exception:
        log.exception("request %s (%s %s) failed", request_id, request.method, request.rel_url.raw_path)
        return problem_response(500, "internal error; the log of the API has it under the request id", request_id)


def _where_to_look(path: str) -> str:
    """The command that shows whether an order at `path` was made."""
    if path.startswith("/v1/messages/"):
        return f"look with floodgate messages show (GET {path.removesuffix('/cancel')})"
    noun = "pauses" if path.startswith("/v1/pauses") else "errors"
    return f"look with floodgate {noun} list --enabled all (GET /v1/{noun}?enabled=all)"


def _away(request_id: str, message: str) -> web.Response:
    return problem_response(503, message, request_id, None, {"Retry-After": RETRY_AFTER})


def _no_history(request_id: str, trouble: HistoryError) -> web.Response:
    """Only a database that is away is worth another try."""
    kinds = {HistoryOff: "history_off", HistoryElsewhere: "history_elsewhere"}
    kind = kinds.get(type(trouble), "history_away")
    headers = {"Retry-After": RETRY_AFTER} if kind == "history_away" else None
    return problem_response(503, str(trouble), request_id, None, headers, kind)


def _check_target(request: web.Request) -> None:
    """Raises BadValue where path or query are not percent-encoded UTF-8: they would be read as something else."""
    path, _, query = request.raw_path.partition("?")
    for part, where in ((path, "path"), (query, "query")):
        try:
            urllib.parse.unquote(part, errors="strict").encode()
        except UnicodeError:
            raise BadValue(where, "is not UTF-8 behind its percent-encoding (RFC 3986 2.5)") from None


def orders_first(turns: Turns) -> Middleware:
    """Marks requests that change something as orders, so that long answers pause longer while one is under way. Mail is
    no order: it comes all the time."""

    @web.middleware
    async def mark(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") or request.path in MAIL_PATHS:
            return await handler(request)
        with turns.order():
            return await handler(request)

    return mark
