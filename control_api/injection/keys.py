"""The idempotency keys of calls that hand mail in."""

from typing import Any, Final

from aiohttp import web

from control_api.http.keys import HEADER
from control_api.http.problems import Problem
from control_api.injection.answers import RETRY_AFTER, Unanswerable
from control_api.injection.reading import JsonBody
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.idempotency import TOKEN, IdempotencyKey, idempotency_key
from mta.ports.idempotency import KeyRefusal, KeyTrouble

_STATUS: Final = {
    KeyTrouble.UNDER_WAY: 409,
    KeyTrouble.OTHER_CONTENT: 422,
    KeyTrouble.NO_ROOM: 503,
    KeyTrouble.STOPPED: 503,
}


def refuse_key(request: web.Request) -> None:
    """Raises BadValue where a stream has a key: nobody knows the content of a stream before its end."""
    if HEADER in request.headers:
        raise BadValue(HEADER, "cannot be given with a stream; give JSON bodies of up to messages.max_batch recipients")


def keyed(request: web.Request, actor: Actor, key: str, body: JsonBody) -> IdempotencyKey:
    """The key in its scope: the token, and the tenant for which it hands mail in."""
    tenant: Any = actor.tenant or body.fields.get("tenant") or ""
    return idempotency_key((TOKEN, actor.token, str(tenant)), key, (request.path.encode(), body.hashed))


def key_problem(refused: KeyRefusal) -> Problem:
    """Raises Unanswerable where the client may get no answer."""
    trouble = refused.trouble
    if trouble is KeyTrouble.UNKNOWN:
        raise Unanswerable
    status = _STATUS[trouble]
    return Problem(status, trouble.value, HEADER, {} if status == 422 else {"Retry-After": RETRY_AFTER})
