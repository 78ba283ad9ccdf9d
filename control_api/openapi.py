"""The description of the API that `/openapi.json` gives (OpenAPI 3.1): what exists, and nothing that is to come."""

import importlib.metadata
from typing import Any

import msgspec
from aiohttp import web

from control_api import metrics
from control_api.bodies import FORM_TYPE, JSON_TYPE
from control_api.message_record import REASONS, STATUSES
from control_api.problems import json_response
from control_api.query import MAX_LIMIT, read_query
from control_api.rule_body import MAX_TAGS, MAX_TEXT
from mta.model.events import EventType
from mta.model.statements import RuleStatement, TagStatement

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, required: list[str] | None = None, **more: Any) -> Schema:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": needed, **more}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(*types: str, **more: Any) -> Schema:
    return {"type": [*types, "null"], **more}


def _tag_list(description: str) -> Schema:
    tag = {"type": "string", "minLength": 1, "maxLength": 128}
    return _or_null("array", "string", items=tag, minItems=1, maxItems=MAX_TAGS, minLength=1, description=description)


_SELECTORS: Schema = {
    "pool": _or_null("string", minLength=1, description="IP pool, or @<ip>; not together with mta"),
    "mta": _or_null("string", minLength=1, description="sending IP address"),
    "domain": _or_null("string", minLength=1, description="target domain, or *.domain for its subdomains"),
    "ip": _or_null("string", minLength=1, description="the peer's IP address; not together with domain or mx"),
    "mx": _or_null("string", minLength=1, description="the peer's host, or *.host; not together with domain or ip"),
    "tag": _or_null("string", minLength=1, maxLength=128, description="1 to 128 bytes of UTF-8"),
    "tags_all": _tag_list("all of them must be there"),
    "except_tags": _tag_list("none of them may be there; alone it needs everything"),
    "cluster": _or_null("boolean", "string", description="default true; false binds the rule to this node"),
    "everything": _or_null("boolean", "string", description="must be true where no selector is given"),
}
_ANSWER: Schema = {
    "extended": _or_null("string", pattern=r"^[245]\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$"),
    "description": _or_null("string", maxLength=MAX_TEXT, description="one printable line"),
    "reason": _or_null("string", maxLength=MAX_TEXT, description="for people; not sent"),
    "expires_at": _or_null("string", description="when it stops matching: RFC 3339, or +30m from now"),
    "duration": _or_null("string", "number", description='how long it matches, such as "30m"; instead of expires_at'),
}
_ENABLED: Schema = {"enabled": _or_null("boolean", "string", description="default true; false: it matches nothing")}
_EDIT_ENABLED: Schema = {"enabled": {"type": ["boolean", "string"], "description": "false: it matches nothing"}}
_CODE: Schema = {
    "anyOf": [{"type": "integer", "minimum": 200, "maximum": 599}, {"type": "string", "pattern": "^[245]\\d\\d$"}]
}

_RULE: Schema = {
    "id": _TEXT,
    "code": {"type": "integer", "minimum": 200, "maximum": 599},
    "extended": _TEXT,
    "description": _TEXT,
    "pool": _TEXT,
    "mta": _TEXT,
    "domain": _TEXT,
    "ip": _TEXT,
    "mx": _TEXT,
    "tag": _TEXT,
    "tags_all": _list(_TEXT),
    "except_tags": _list(_TEXT),
    "cluster": _FLAG,
    "node": _TEXT,
    "enabled": _FLAG,
    "expires_at": _TIME,
    "reason": _TEXT,
    "created_at": _TIME,
    "created_by": _TEXT,
    "generation": _COUNT,
}
_RULE_ALWAYS = ["id", "code", "cluster", "enabled", "generation"]
_USE: Schema = {"hits": _COUNT, "last_hit_at": _TIME_OR_NULL, "shadowed_by": _or_null("string")}
_EFFECT: Schema = {
    "effective": _FLAG,
    "effective_at": _TIME,
    "effective_by": _TIME,
    "past_dot": _list(_object({"id": _TEXT, "recipient": _TEXT, "dot_at": _TIME_OR_NULL})),
    "quiet_at": _TIME_OR_NULL,
    "workers": _object({"confirmed": _list(_TEXT), "unconfirmed": _list(_TEXT)}),
}
_EFFECT_ALWAYS = ["effective", "past_dot", "quiet_at", "workers"]


_STATUS: Schema = {"type": "string", "enum": list(STATUSES)}
_REASON: Schema = {"type": "string", "enum": list(REASONS)}
_SAID = _object({"code": {"type": "integer"}, "enhanced": _TEXT, "text": _TEXT}, [])
_RECIPIENT: Schema = {
    "id": _TEXT,
    "recipient": _TEXT,
    "status": _STATUS,
    "reason": _REASON,
    "error": _SAID,
    "attempts": _COUNT,
    "next_attempt": _TIME,
    "cancel_asked_at": _TIME,
    "canceled_at": _TIME,
    "ended_at": _TIME,
    "uncertain": _FLAG,
}
_MESSAGE: Schema = {
    "id": _TEXT,
    "status": _STATUS,
    "reason": _REASON,
    "error": _SAID,
    "accepted_at": _TIME,
    "canceled_at": _TIME,
    "effective_by": _TIME,
    "tenant": _TEXT,
    "tags": _list(_TEXT),
    "sender": _TEXT,
    "recipients": _list(_object(_RECIPIENT, ["id", "status"])),
}


def _schemas() -> Schema:
    _, statements = msgspec.json.schema_components(
        (TagStatement, RuleStatement), ref_template="#/components/schemas/{name}"
    )
    queue = {"pool": _TEXT, "domain": _TEXT, "due": _COUNT, "scheduled": _COUNT, "claimed": _COUNT}
    worker = {
        "name": _TEXT,
        "node": _TEXT,
        "pid": _COUNT,
        "session": _TEXT,
        "roles": _list(_TEXT),
        "generation": _COUNT,
        "lag": _COUNT,
        "confirmed_at": _TIME_OR_NULL,
        "seconds_since_confirm": {"type": "number", "minimum": 0},
        "dead": _FLAG,
    }
    error = {"type": _TEXT, "message": _TEXT, "field": _or_null("string"), "request_id": _TEXT}
    return {
        "Error": _object({"error": _object(error)}),
        "NewForcedError": _object(
            {"code": _CODE, **_ANSWER, **_ENABLED, **_SELECTORS}, ["code"], additionalProperties=False
        ),
        "Edit": _object({"code": _CODE, **_ANSWER, **_EDIT_ENABLED}, [], additionalProperties=False, minProperties=1),
        "Selectors": _object({"code": {}, **_ANSWER, **_ENABLED, **_SELECTORS}, [], additionalProperties=False),
        "ListedForcedError": _object({**_RULE, **_USE}, [*_RULE_ALWAYS, *_USE]),
        "ForcedError": _object(
            {**_RULE, **_USE, **_EFFECT, "warnings": _list(_TEXT)}, [*_RULE_ALWAYS, *_EFFECT_ALWAYS]
        ),
        "Queues": _object(
            {
                "as_of": _TIME,
                "queues": _list(_object({**queue, "oldest": _TIME_OR_NULL})),
                "cursor": _or_null("string"),
            }
        ),
        "Workers": _object({"generation": _COUNT, "workers": _list(_object(worker))}),
        "Message": _object(_MESSAGE, ["id", "status", "accepted_at", "recipients"]),
        "Health": _object({"status": _TEXT, "reason": _TEXT}, ["status"]),
        **statements,
    }


def _json(schema: Schema, description: str, headers: Schema | None = None) -> Schema:
    found: Schema = {"description": description, "content": {JSON_TYPE: {"schema": schema}}}
    return found | ({"headers": headers} if headers else {})


_REFUSALS = {
    "400": "a value, a field or a parameter cannot be taken; `field` names it",
    "401": "no valid token",
    "404": "not there",
    "412": "the rule is at another generation than If-Match says",
    "408": "the body did not arrive in time",
    "413": "the body is larger than 1 MiB",
    "415": "not a type of body that is read here",
    "429": "too many requests without a valid token",
    "503": "the store cannot be used now; see Retry-After",
}


def _answers(*refusals: str, **given: Schema) -> Schema:
    """`given` by name `_200`, and the refusals that the operation has besides those that all have."""
    found = {name.lstrip("_"): answer for name, answer in given.items()}
    for status in ("400", "401", *refusals, "429", "503"):
        found[status] = _json(_ref("Error"), _REFUSALS[status])
    return found


def _query(name: str, description: str, **schema: Any) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string", **schema}}


_LIMIT: Schema = {
    "name": "limit",
    "in": "query",
    "description": "items in one answer",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
}
_CURSOR = _query("cursor", "opaque, from the answer before")
_WAIT = _query("wait", 'how long to wait, such as "2s"; default api.wait')
_UNTIL = _query("until", "what to wait for", enum=["effective", "quiet", "swept"])
_ID: Schema = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_TAG: Schema = {"name": "tag", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_BY_TAG = _query("tag", "exactly this tag")
_BY_POOL = _query("pool", "exactly this pool")
_BY_DOMAIN = _query("domain", "exactly this domain")
_BY_STATE = _query("enabled", "false: those disabled or expired instead", enum=["true", "false", "all"])
_IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "description": "the ETag of the rule as it was read: its generation",
    "schema": _TEXT,
}


def _body(name: str) -> Schema:
    return {"required": True, "content": {kind: {"schema": _ref(name)} for kind in (JSON_TYPE, FORM_TYPE)}}


def _operation(summary: str, answers: Schema, parameters: list[Schema] | None = None, **more: Any) -> Schema:
    return {"summary": summary, "parameters": parameters or [], "responses": answers, **more}


def _error_paths() -> Schema:
    rule = _ref("ForcedError")
    link = {"Link": {"description": 'rel="next", with limit', "schema": _TEXT}}
    etag = {"ETag": {"description": "the generation, for If-Match", "schema": _TEXT}}
    removed = {"_200": _json(rule, "removed"), "_202": _json(rule, "removed, not effective everywhere yet")}
    body_refusals = ("404", "408", "413", "415")
    return {
        "/v1/errors": {
            "get": _operation(
                "The active forced errors",
                _answers(_200=_json(_list(_ref("ListedForcedError")), "oldest first", link)),
                [_BY_TAG, _BY_POOL, _BY_DOMAIN, _BY_STATE, _LIMIT, _CURSOR],
            ),
            "post": _operation(
                "Order a forced error, or replace the one with the same selectors",
                _answers(
                    *body_refusals[1:],
                    _200=_json(rule, "replaced and effective", etag),
                    _201=_json(rule, "created and effective", etag),
                    _202=_json(rule, "stored; what is waited for has not happened yet", etag),
                ),
                [_WAIT, _UNTIL],
                requestBody=_body("NewForcedError"),
            ),
            "delete": _operation(
                "Lift the forced error with exactly these selectors",
                _answers(*body_refusals, **removed),
                [_WAIT],
                requestBody=_body("Selectors"),
            ),
        },
        "/v1/errors/{id}": {
            "parameters": [_ID],
            "get": _operation("One forced error", _answers("404", _200=_json(rule, "the rule and its effect", etag))),
            "patch": _operation(
                "Edit, enable or disable one forced error; null takes a field away",
                _answers(
                    *body_refusals,
                    "412",
                    _200=_json(rule, "edited and effective", etag),
                    _202=_json(rule, "stored; what is waited for has not happened yet", etag),
                ),
                [_WAIT, _UNTIL, _IF_MATCH],
                requestBody=_body("Edit"),
            ),
            "delete": _operation("Lift one forced error", _answers("404", **removed), [_WAIT]),
        },
        "/v1/errors/{id}/statement": {
            "parameters": [_ID],
            "get": _operation(
                "What became of the deliveries that the rule met",
                _answers("404", _200=_json(_ref("RuleStatement"), "the statement")),
            ),
        },
    }


def _message_paths() -> Schema:
    record = _ref("Message")
    once = {"x-should-retry": {"description": "false", "schema": _TEXT}}
    return {
        "/v1/messages/{id}": {
            "parameters": [_ID],
            "get": _operation(
                "One message, with the status of each recipient",
                _answers("404", _200=_json(record, "the record")),
            ),
        },
        "/v1/messages/{id}/cancel": {
            "parameters": [_ID],
            "post": _operation(
                "Cancel one message; may be repeated",
                _answers(
                    "404",
                    "408",
                    "413",
                    "415",
                    _200=_json(record, "canceled for at least one recipient, now or before; no other is under way"),
                    _202=_json(record, "a worker that holds some of it has not answered yet"),
                    _409=_json(record, "all of it has ended otherwise", once),
                ),
                [_WAIT],
            ),
        },
    }


_METRICS: Schema = {
    "get": _operation(
        "Metrics of the cluster, in Prometheus's text format",
        _answers(_200={"description": "metrics", "content": {"text/plain": {"schema": _TEXT}}}),
        description="Without a token where the API listens on loopback and api.metrics_open is set.",
    )
}


def _other_paths() -> Schema:
    statement = _json(_ref("TagStatement"), "the statement; zeros where the tag was never seen")
    event_types = {"type": "array", "items": {"type": "string", "enum": [str(kind) for kind in EventType]}}
    stream = {"description": "server-sent events", "content": {"text/event-stream": {"schema": _TEXT}}}
    healthy = _json(_ref("Health"), "yes")
    return {
        "/v1/tags": {
            "get": _operation(
                "The statement of a tag", _answers(_200=statement), [_query("tag", "the tag") | {"required": True}]
            )
        },
        "/v1/tags/{tag}": {
            "parameters": [_TAG],
            "get": _operation("The statement of a tag", _answers("404", _200=statement)),
        },
        "/v1/queues": {
            "get": _operation(
                "The queues with their counts",
                _answers(_200=_json(_ref("Queues"), "by pool and domain")),
                [_BY_POOL, _BY_DOMAIN, _LIMIT, _CURSOR],
            )
        },
        "/v1/workers": {
            "get": _operation(
                "The processes that match rules", _answers(_200=_json(_ref("Workers"), "by node and pid"))
            )
        },
        "/v1/events": {
            "get": _operation(
                "Live events",
                _answers(_200=stream),
                [
                    _BY_TAG,
                    _BY_POOL,
                    _BY_DOMAIN,
                    {"name": "type", "in": "query", "schema": event_types},
                    _LIMIT,
                    _query("for", 'how long, such as "10s"; default: until the watcher goes'),
                    {"name": "Last-Event-ID", "in": "header", "schema": _TEXT},
                ],
            )
        },
        metrics.PATH: _METRICS,
        "/healthz": {"get": _operation("Whether the API answers", {"200": healthy}, security=[])},
        "/readyz": {
            "get": _operation(
                "Whether this node can do its work",
                {"200": healthy, "503": _json(_ref("Health"), "no, and why")},
                security=[],
            )
        },
    }


def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Floodgate", "version": _version(), "description": "Control after acceptance."},
        "security": [{"token": []}],
        "paths": {**_error_paths(), **_message_paths(), **_other_paths()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _version() -> str:
    try:
        return importlib.metadata.version("floodgate-mta")
    except importlib.metadata.PackageNotFoundError:
        return "0"


async def show(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    read_query(request)
    return json_response(document())
