"""Answers that say no: one JSON shape for every error, with a type that programs can tell apart."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET

from control_api.schemas.answers import Error, ErrorDetails
from mta.model.text import visible

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}  # of every answer
REQUEST_ID_HEADER: Final = "X-Request-Id"

_TYPES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "unprocessable",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal",
    503: "unavailable",
}


encode = msgspec.json.Encoder().encode


class Problem(Exception):
    """An answer other than success that is not a fault of Floodgate."""

    def __init__(
        self,
        status: int,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        matched: int | None = None,
    ) -> None:
        """`matched`: deliveries that a refused order matches."""
        super().__init__(message)
        self.status = status
        self.field = field
        self.headers = dict(headers or {})
        self.matched = matched


def problem_response(
    status: int,
    message: str,
    request_id: str,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    kind: str = "",
    matched: int | None = None,
) -> web.Response:
    """An `Error`; without `kind` its type follows from the status."""
    kind = kind or _TYPES.get(status, "invalid" if status < 500 else "internal")
    named = None if field is None else visible(field)
    details = ErrorDetails(type=kind, message=visible(message), field=named, request_id=request_id)
    return json_response(Error(error=details, matched=UNSET if matched is None else matched), status, headers)


def outer_problem(status: int, message: str, field: str | None = None) -> web.Response:
    """A refusal of a request that does not reach the application: with the headers of every answer, and the end of the
    connection."""
    request_id = new_request_id()
    response = problem_response(status, message, request_id, field, HEADERS | {REQUEST_ID_HEADER: request_id})
    response.force_close()
    return response


def new_request_id() -> str:
    return secrets.token_hex(8)


def array_response(items: Sequence[bytes], headers: Mapping[str, str]) -> web.Response:
    """An array of items that are encoded already."""
    raw = b"[" + b",".join(items) + b"]\n"
    return web.Response(body=raw, content_type="application/json", headers=headers)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """With a newline at its end, so that a terminal's prompt begins on a line of its own."""
    return web.Response(status=status, body=encode(body) + b"\n", content_type="application/json", headers=headers)


def text_response(lines: Sequence[str]) -> web.Response:
    """Lines for people."""
    return web.Response(text="".join(f"{line}\n" for line in lines), content_type="text/plain", charset="utf-8")
