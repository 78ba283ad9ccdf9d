"""JSON Schemas of the structs of bodies, query strings and answers."""

import inspect
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from control_api.schemas.reading import Body, Field, fields_of
from control_api.schemas.values import Schema, optional

_REFERENCE: Final = "#/components/schemas/{name}"
_ANYTHING: Final[Schema] = {"type": ["string", "number", "boolean", "null"]}


def a_reference(name: str) -> Schema:
    return {"$ref": _REFERENCE.format(name=name)}


def body_schema(body: Body) -> Schema:
    """The schema of a JSON body."""
    fields = body.fields()
    needed = [name for name, field in fields.items() if field.default is msgspec.NODEFAULT]
    found: Schema = {
        "type": "object",
        "properties": {name: _property(body, field) for name, field in fields.items()},
        "required": [] if body.is_edit else [name for name in needed if name not in body.ignores],
        "additionalProperties": False,
    }
    if body.others is not None:
        found |= {"additionalProperties": body.others, "maxProperties": body.most_others}
        found["propertyNames"] = {"pattern": "^[a-z][a-z0-9-]{0,30}$"}
    if body.is_edit:
        found["minProperties"] = 1
    if body.agreements:
        found["anyOf"] = list(body.agreements)
    return found


def _property(body: Body, field: Field) -> Schema:
    if field.name in body.ignores:
        return _ANYTHING
    can_be_null = field.can_be_null if body.is_edit else field.default is not msgspec.NODEFAULT
    schema = optional(field.value.schema) if can_be_null else field.value.schema
    return schema | {"description": field.description}


def form_schema(schema: Any) -> Any:
    """The same without null, which a form cannot say."""
    if isinstance(schema, list):
        return [form_schema(item) for item in schema if item not in (None, "null", {"type": "null"})]
    if not isinstance(schema, dict):
        return schema
    found = {name: form_schema(value) for name, value in schema.items()}
    if isinstance(found.get("type"), list) and len(found["type"]) == 1:
        found["type"] = found["type"][0]
    return found


def query_parameters(struct: type[msgspec.Struct]) -> list[Schema]:
    """The parameters of a query string."""
    return [_parameter(field, needed=field.default is msgspec.NODEFAULT) for field in fields_of(struct).values()]


def body_parameters(body: Body) -> list[Schema]:
    """The fields of a body as parameters of a query string, without those that the API ignores."""
    return [_parameter(field) for name, field in body.fields().items() if name not in body.ignores]


def _parameter(field: Field, needed: bool = False) -> Schema:
    found = {"name": field.name, "in": "query", "description": field.description, "schema": field.value.schema}
    return found | ({"required": True} if needed else {})


def answer_schemas(structs: Iterable[type[msgspec.Struct]]) -> Schema:
    """The schemas of these structs and of those that they hold, by name."""
    _, components = msgspec.json.schema_components(structs, ref_template=_REFERENCE)
    return {name: _told(schema) for name, schema in components.items()}


def _told(schema: Schema) -> Schema:
    """With its description on one line, and the type of an enumeration."""
    found = dict(schema)
    if "description" in found:
        found["description"] = " ".join(inspect.cleandoc(found["description"]).split())
    return {"type": "string"} | found if "enum" in found else found
