"""The header Idempotency-Key of calls that hand mail in."""

from typing import Any, Final

from aiohttp import web

from control_api.http.operation import Parameter
from control_api.http.problems import Problem
from control_api.injection.answers import RETRY_AFTER, Unanswerable
from control_api.injection.reading import JsonBody
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.idempotency import LONGEST, TOKEN, IdempotencyKey, check_key, idempotency_key
from mta.ports.idempotency import KeyRefusal, KeyTrouble

HEADER: Final = "Idempotency-Key"
KEY: Final = Parameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "a name of this call, a UUID for example: a repeat with it is accepted once",
)

_STATUS: Final = {
    KeyTrouble.UNDER_WAY: 409,
    KeyTrouble.OTHER_CONTENT: 422,
    KeyTrouble.NO_ROOM: 503,
    KeyTrouble.STOPPED: 503,
}


def key_in(request: web.Request) -> str:
    """The key of the call, "" = it has none. Raises BadValue."""
    given = request.headers.getall(HEADER, [])
    if not given:
        return ""
    if len(given) > 1:
        raise BadValue(HEADER, "is given twice; give one")
    return check_key(given[0], HEADER)


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
