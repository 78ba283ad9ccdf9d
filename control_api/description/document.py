"""The description of the API that `/openapi.json` gives (OpenAPI 3.1), made of its operations and their structs."""

import functools
import importlib.metadata
from collections.abc import Collection, Iterator
from typing import Any, Final

from aiohttp import hdrs, web

from control_api.description.shapes import (
    a_reference,
    answer_schemas,
    body_parameters,
    body_schema,
    form_schema,
    query_parameters,
)
from control_api.http.bodies import FORM_TYPE, JSON_TYPE
from control_api.http.keys import KEY, KEY_OF_ORDER, REPLAY
from control_api.http.operation import Answer, Opening, Operation, Parameter
from control_api.http.problems import json_response
from control_api.http.query import read_no_query
from control_api.operations import GROUPS, operations
from control_api.schemas.answers import Error
from control_api.schemas.reading import Body
from control_api.schemas.values import Schema

REFUSALS: Final = {
    400: "a value, a field or a parameter cannot be taken; `field` names it",
    401: "no valid token",
    403: "the token lacks the scope, or is bound to a tenant; or: no token, and `Host` does not name this machine",
    404: "not there",
    408: "the body did not arrive in time",
    409: "the current state forbids it; the message gives the reason",
    412: "the rule is at another generation than If-Match says",
    413: "the body is larger than 1 MiB, or the message is larger than smtp.max_message_size",
    415: "not a type of body that is read here",
    422: "understood, and it cannot be done with these values; the message names the value",
    429: "too many requests; see Retry-After",
    431: "the request line or a header field is too long, or there are too many fields",
    503: "the store cannot be used now; see Retry-After",
}
_ALWAYS: Final = (400, 401, 429, 431)
OF_KEYS: Final = (408, 409, 413, 422)  # of orders that may have an idempotency key
_OF_OPENING: Final = {Opening.TOKEN: (403, 503), Opening.OPEN: (403,), Opening.METRICS: (403, 503)}


@functools.cache
def document() -> Schema:
    """The whole document."""
    answers = [answer for operation in operations() for answer in operation.answers]
    components = answer_schemas([Error, *(of for answer in answers if _is_json(answer) for of in _structs(answer))])
    bodies = {body.name: body for operation in operations() for body in _bodies_of(operation)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Floodgate",
            "version": _version(),
            "description": "Control after acceptance.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The node that gave this description."}],
        "tags": [{"name": group.name, "description": group.description} for group in GROUPS],
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {
            "schemas": components | _bodies(bodies.values()),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _bodies_of(operation: Operation) -> Iterator[Body]:
    """That of its requests, and those that are items of it."""
    if operation.body is not None:
        yield operation.body
        if operation.body.items is not None:
            yield operation.body.items._replace(json_only=True)


def _bodies(bodies: Collection[Body]) -> Schema:
    """Each as JSON, and as a form."""
    found = {body.name: body_schema(body) for body in bodies}
    forms = {body.name: form_schema(found[body.name]) for body in bodies if not body.json_only}
    return found | {f"{name}Form": schema for name, schema in forms.items()}


def _paths() -> Schema:
    found: Schema = {}
    for group in GROUPS:
        for operation in group.operations:
            item = found.setdefault(operation.path, {})
            if operation.path_values:
                item["parameters"] = [_outside(value, "path") for value in operation.path_values]
            item[operation.method.lower()] = _operation(operation, group.name)
    return found


def _operation(operation: Operation, group: str) -> Schema:
    found: Schema = {
        "operationId": operation.name,
        "tags": [group],
        "summary": operation.summary,
        "parameters": [
            *query_parameters(operation.query),
            *(body_parameters(operation.body) if operation.body is not None and operation.body_or_query else ()),
            *(_outside(header, "header") for header in _headers(operation)),
        ],
        "responses": _responses(operation),
    }
    if operation.description:
        found["description"] = operation.description
    found["security"] = _security(operation)
    if operation.body is not None:
        found["requestBody"] = _request_body(operation, operation.body)
    return found


def takes_key(operation: Operation) -> bool:
    """Whether it is an order that may have an idempotency key."""
    return operation.method != hdrs.METH_GET and operation.opening is Opening.TOKEN and KEY not in operation.headers


def _headers(operation: Operation) -> Iterator[Parameter]:
    yield from operation.headers
    if takes_key(operation):
        yield KEY_OF_ORDER


def _security(operation: Operation) -> list[Schema]:
    """The scope is named as a role of the bearer (OpenAPI 3.1, Security Requirement Object)."""
    token: list[Schema] = [] if operation.scope is None else [{"token": [operation.scope.value]}]
    return [{}, *token] if operation.opening is Opening.METRICS else token


def _request_body(operation: Operation, body: Body) -> Schema:
    content: Schema = {JSON_TYPE: {"schema": a_reference(body.name)}}
    if not body.json_only:
        content[FORM_TYPE] = {"schema": a_reference(f"{body.name}Form")}
    if operation.example.body is not None:
        content[JSON_TYPE]["example"] = operation.example.body
    return {"required": not operation.body_or_query, "content": content}


def _responses(operation: Operation) -> Schema:
    given = {str(answer.status): _answer(answer) for answer in operation.answers}
    if links := _links(operation):
        for answer in operation.answers:
            given[str(answer.status)]["links"] = links
    if takes_key(operation):
        for answer in operation.answers:
            if answer.status < 300:
                given[str(answer.status)].setdefault("headers", {})[REPLAY.name] = _header(REPLAY)
    of_keys = OF_KEYS if takes_key(operation) else ()
    for status in (*_ALWAYS, *_OF_OPENING[operation.opening], *of_keys, *operation.refusals):
        schema = {"schema": a_reference(Error.__name__)}
        given.setdefault(str(status), {"description": REFUSALS[status], "content": {JSON_TYPE: schema}})
    return given


def _links(operation: Operation) -> Schema:
    """The operations on what an order made, by the `id` of its answer."""
    made = operation.path + "/{id}"
    if operation.method != hdrs.METH_POST or not all(_has_id(answer) for answer in operation.answers):
        return {}
    return {
        other.name: {"operationId": other.name, "parameters": {"id": "$response.body#/id"}}
        for other in operations()
        if other.path == made or other.path.startswith(made + "/")
    }


def _has_id(answer: Answer) -> bool:
    return _is_json(answer) and not answer.is_list and "id" in answer.of.__struct_fields__


def _answer(answer: Answer) -> Schema:
    schema = answer.of
    if _is_json(answer):
        references = [a_reference(of.__name__) for of in _structs(answer)]
        schema = references[0] if len(references) == 1 else {"anyOf": references}
    schema = {"type": "array", "items": schema} if answer.is_list else schema
    found: Schema = {"description": answer.description, "content": {answer.media: {"schema": schema}}}
    if answer.or_text:
        found["content"]["text/plain"] = {"schema": {"type": "string"}}
    for media in answer.or_media:
        found["content"][media] = {"schema": {"type": "string"}}
    if answer.headers:
        found["headers"] = {header.name: _header(header) for header in answer.headers}
    return found


def _header(header: Parameter) -> Schema:
    return {"description": header.description, "schema": header.schema}


def _structs(answer: Answer) -> list[Any]:
    return [answer.of, *answer.or_of]


def _is_json(answer: Answer) -> bool:
    return answer.media == JSON_TYPE


def _outside(parameter: Parameter, where: str) -> Schema:
    """A parameter in the path or in a header field."""
    found: Schema = {"name": parameter.name, "in": where, "schema": parameter.schema}
    found |= {"required": True} if where == "path" else {}
    return found | ({"description": parameter.description} if parameter.description else {})


def _version() -> str:
    try:
        return importlib.metadata.version("floodgate-mta")
    except importlib.metadata.PackageNotFoundError:
        return "0"


async def show(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    read_no_query(request)
    return json_response(document())
