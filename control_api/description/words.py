"""The words in which the description of the API is written: schemas, parameters, answers (OpenAPI 3.1)."""

from typing import Any

from control_api.description.fields import (
    DOMAIN,
    DOMAIN_OR_BELOW,
    LABEL,
    MESSAGE_ID,
    POOL,
    QUEUE_CURSOR,
    RULE_CURSOR,
    Schema,
    a_text,
)
from control_api.description.fields import WAIT as WAITING
from control_api.http.bodies import FORM_TYPE, JSON_TYPE
from control_api.http.query import MAX_LIMIT

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(properties: Schema, required: list[str] | None = None, **more: Any) -> Schema:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": needed, **more}


def a_list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def or_null(*types: str, **more: Any) -> Schema:
    return {"type": [*types, "null"], **more}


def an_answer(schema: Schema, description: str, headers: Schema | None = None) -> Schema:
    found: Schema = {"description": description, "content": {JSON_TYPE: {"schema": schema}}}
    return found | ({"headers": headers} if headers else {})


REFUSALS = {
    "400": "a value, a field or a parameter cannot be taken; `field` names it",
    "401": "no valid token",
    "403": "without a token only requests to this machine by its own names are answered",
    "404": "not there",
    "409": "it is not possible as things are; the answer says what is in the way",
    "412": "the rule is at another generation than If-Match says",
    "408": "the body did not arrive in time",
    "413": "the body is larger than 1 MiB",
    "415": "not a type of body that is read here",
    "431": "the request line or a header field is too long, or there are too many fields",
    "429": "too many requests without a valid token",
    "503": "the store cannot be used now; see Retry-After",
}


def answers(*refusals: str, **given: Schema) -> Schema:
    """`given` by name `_200`, and the refusals that the operation has besides those that all have."""
    found = {name.lstrip("_"): answer for name, answer in given.items()}
    for status in ("400", "401", *refusals, "429", "431", "503"):
        found[status] = an_answer(ref("Error"), REFUSALS[status])
    return found


def open_answers(**given: Schema) -> Schema:
    """The same for what is answered without a token."""
    found = {name.lstrip("_"): answer for name, answer in given.items()}
    for status in ("400", "401", "403", "429", "431"):
        found[status] = an_answer(ref("Error"), REFUSALS[status])
    return found


def a_query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


LIMIT: Schema = {
    "name": "limit",
    "in": "query",
    "description": "items in one answer",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
}
CURSOR_OF_RULES = a_query("cursor", "opaque, from the answer before", a_text(RULE_CURSOR))
CURSOR_OF_QUEUES = a_query("cursor", "opaque, from the answer before", a_text(QUEUE_CURSOR))
WAIT = a_query("wait", 'how long to wait, such as "2s", at most 10 minutes; default api.wait', a_text(WAITING))
UNTIL = a_query("until", "what to wait for", {"type": "string", "enum": ["effective", "quiet", "swept"]})
ID: Schema = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
MESSAGE: Schema = {"name": "id", "in": "path", "required": True, "schema": a_text(MESSAGE_ID)}
TAG: Schema = {"name": "tag", "in": "path", "required": True, "schema": a_text(LABEL)}
BY_TAG = a_query("tag", "exactly this tag", a_text(LABEL))
BY_POOL = a_query("pool", "exactly this pool", a_text(POOL))
BY_DOMAIN = a_query("domain", "exactly this domain, in A-labels", a_text(DOMAIN))
BY_RULES_DOMAIN = a_query("domain", "exactly this domain, in A-labels", a_text(DOMAIN_OR_BELOW))
_ENABLED: Schema = {"type": "string", "enum": ["true", "false", "all"]}
BY_STATE = a_query("enabled", "false: those disabled or expired instead", _ENABLED)
IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "description": "the ETag of the rule as it was read: its generation",
    "schema": a_text(r'"[0-9]{1,15}"|\*'),
}


def a_body(name: str) -> Schema:
    forms = {JSON_TYPE: name, FORM_TYPE: f"{name}Form"}
    return {"required": True, "content": {kind: {"schema": ref(of)} for kind, of in forms.items()}}


def an_operation(summary: str, answers: Schema, parameters: list[Schema] | None = None, **more: Any) -> Schema:
    return {"summary": summary, "parameters": parameters or [], "responses": answers, **more}
