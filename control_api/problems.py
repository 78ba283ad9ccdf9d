"""Answers that say no: one JSON shape for every error, with a type that programs can tell apart."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from mta.model.text import visible

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
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}


class Problem(Exception):
    """An answer other than success; nothing about it is a fault of ours."""

    def __init__(
        self, status: int, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.headers = dict(headers or {})


def problem_response(
    status: int, message: str, request_id: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """`{"error": {"type", "message", "field", "request_id"}}`."""
    kind = _TYPES.get(status, "invalid" if status < 500 else "internal")
    named = None if field is None else visible(field)
    body = {"error": {"type": kind, "message": visible(message), "field": named, "request_id": request_id}}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)
