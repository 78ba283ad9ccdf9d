"""The header Idempotency-Key."""

from typing import Final

from aiohttp import web

from control_api.http.operation import Parameter
from mta.model.errors import BadValue
from mta.model.idempotency import LONGEST, check_key

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = {"Idempotent-Replay": "true"}  # of an answer that was given before
REPLAY: Final = Parameter("Idempotent-Replay", {"const": "true"}, "the call was answered before")
_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]([ -~]*[!-~])?$"}
KEY: Final = Parameter(HEADER, _SCHEMA, "a name of this call, a UUID for example: a repeat with it is accepted once")
KEY_OF_ORDER: Final = Parameter(
    HEADER, _SCHEMA, "a name of this order, a UUID for example: a repeat with it is carried out once"
)


def key_in(request: web.Request) -> str:
    """The key of the call, "" = it has none. Raises BadValue."""
    given = request.headers.getall(HEADER, [])
    if not given:
        return ""
    if len(given) > 1:
        raise BadValue(HEADER, "is given twice; give one")
    return check_key(given[0], HEADER)
