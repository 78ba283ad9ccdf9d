"""The page `docs/api.md`, written from the operations of the API: `python -m control_api.description.page FILE`."""

import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from control_api.description import programs
from control_api.description.document import REFUSALS, document, takes_key
from control_api.http.keys import KEY_OF_ORDER, REPLAY
from control_api.http.operation import Group, Operation
from control_api.operations import GROUPS
from control_api.schemas.values import Schema

_INTRODUCTION: Final = """# The REST API

This page is written from the code: `python -m control_api.description.page docs/api.md`. The same description in
OpenAPI 3.1 is at `/openapi.json` of every node.

Send a token with each request: `Authorization: Bearer TOKEN`. The administrator's token is in `admin.token` of the data
folder. Bodies are JSON, or forms (`application/x-www-form-urlencoded`). An unknown field or parameter is refused. Times
are RFC 3339 in UTC with milliseconds; durations are texts such as `500ms`, `30s`, `10m`, `24h`, or seconds. A field of
an answer that is not known is left out. Null in a body means that the field is absent; in an
edit it takes the field away.

Each order (`POST`, `PUT`, `PATCH`, `DELETE`) may have an `Idempotency-Key`, a UUID for example. A repeat with the same
key, path and body is not carried out again: it gets the answer of the first, with `Idempotent-Replay: true`, for
`messages.idempotency_window` (24 hours). While the first is under way a repeat is refused with 409 and `Retry-After`;
another order with the key is refused with 422. A key belongs to its token. A refusal had no effect and is not kept, so
an order that was refused may be repeated with its key. Where a node ends in the middle of an order, a repeat is carried
out a minute later. A body that is a stream of rows takes no key.

The examples are for a shell with these variables:

```sh
FLOODGATE_URL=http://127.0.0.1:8080
FLOODGATE_TOKEN=$(cat "$FLOODGATE_DATA_DIR/admin.token")
RULE=...      # the id of a forced error
SET=...       # the id of a set of forced errors
PAUSE=...     # the id of a pause
PREVIEW=...   # the id of a preview
MESSAGE=...   # the id of a message
TOKEN_ID=...  # the id of a token
KEY=...       # the id of a DKIM key
TENANT=...    # the name of a tenant that has terms
```

A refusal is an object `{"error": {"type", "message", "field", "request_id"}}`; `field` names the field or the parameter
that cannot be taken.

| status | means |
|---|---|
"""


def page() -> str:
    """The whole page."""
    refusals = "".join(f"| {status} | {words} |\n" for status, words in REFUSALS.items())
    groups = "\n".join(_group(group) for group in GROUPS)
    return f"{_INTRODUCTION}{refusals}\n{programs.section()}\n{groups}\n{_objects()}"


def _group(group: Group) -> str:
    operations = "\n".join(_operation(operation) for operation in group.operations)
    return f"## {group.name}\n\n{group.description}\n\n{operations}"


def _operation(operation: Operation) -> str:
    told = document()["paths"][operation.path][operation.method.lower()]
    parts = [f"### {operation.method} {operation.path}\n", f"{operation.summary}.\n"]
    if operation.description:
        parts.append(f"{operation.description}\n")
    parts.append(f"{_scope(operation)}\n")
    of_all = (KEY_OF_ORDER.name, REPLAY.name) if takes_key(operation) else ()  # the introduction tells of them
    given = [one for one in told["parameters"] if one["name"] not in of_all]
    if given:
        rows = [(f"`{one['name']}`", _where(one), _text(one["schema"], one)) for one in given]
        parts.append(_table(("parameter", "in", "value"), rows))
    if "requestBody" in told and not operation.body_or_query:
        schema = _resolved(told["requestBody"]["content"]["application/json"]["schema"])
        parts.append(_table(("field of the body", "", "value"), _properties(schema, "required")))
    parts.append(_table(("answer", "", ""), list(_answers(told, of_all))))
    parts.append(f"```sh\n{command_of(operation)}\n```\n")
    return "\n".join(parts)


def _scope(operation: Operation) -> str:
    """The right that a token needs."""
    if operation.scope is None:
        return "No token is needed."
    bound = "; a token of a tenant reaches its own mail only" if operation.for_tenants else ""
    return f"Scope: `{operation.scope}`{bound}."


def command_of(operation: Operation) -> str:
    """The example as a command."""
    method = "" if operation.method == "GET" else f" -X {operation.method}"
    lines = [f'curl -sS{method} -H "Authorization: Bearer $FLOODGATE_TOKEN"']
    if operation.example.body is not None:
        lines.append(f"  -H 'Content-Type: application/json' -d '{json.dumps(operation.example.body)}'")
    lines.append(f'  "$FLOODGATE_URL{operation.example.target}"')
    return " \\\n".join(lines)


def _answers(told: Schema, of_all: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Successes in full, without headers that all have; refusals by their status alone."""
    refused = []
    for status, answer in sorted(told["responses"].items()):
        if answer["description"] in REFUSALS.values():
            refused.append(status)
            continue
        given = {name: one for name, one in answer.get("headers", {}).items() if name not in of_all}
        headers = "".join(f"; header `{name}`: {one['description']}" for name, one in given.items())
        types = dict.fromkeys(_type(content["schema"]) for content in answer["content"].values())
        yield status, " or ".join(types), answer["description"] + headers
    yield ", ".join(refused), "[Error](#error)", "refused"


def _objects() -> str:
    """The objects that answers are made of."""
    forms = {name for name in document()["components"]["schemas"] if name.endswith("Form")}
    told = {operation.body.name for group in GROUPS for operation in group.operations if operation.body is not None}
    sections = ["## Objects\n"]
    for name, schema in sorted(document()["components"]["schemas"].items()):
        if name in forms or name in told:
            continue
        sections.append(f"### {name}\n")
        sections.append(f"{schema.get('description', name)}\n")
        if "properties" in schema:
            sections.append(_table(("field", "", "value"), _properties(schema, "always")))
        else:
            sections.append(f"{_type(schema)}\n")
    return "\n".join(sections)


def _properties(schema: Schema, word: str) -> list[tuple[str, ...]]:
    needed = schema.get("required", [])
    first = sorted(schema["properties"].items(), key=lambda item: item[0] not in needed)
    return [(f"`{name}`", word if name in needed else "", _text(one, one)) for name, one in first]


def _where(parameter: Schema) -> str:
    return f"{parameter['in']}, required" if parameter.get("required") else str(parameter["in"])


def _text(schema: Schema, told: Schema) -> str:
    """The type, and the words about it."""
    words = told.get("description", "")
    kind = _type(schema)
    return f"{kind}; {words}" if words and kind else words or kind


def _type(schema: Schema) -> str:
    """The type in words; patterns are left to the OpenAPI document."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    if "anyOf" in schema:
        found = dict.fromkeys(_type(one) for one in schema["anyOf"] if one != {"type": "null"})
        if _WORDS["boolean"] in found:
            return _WORDS["boolean"]  # the texts that forms send are these words
        return " or ".join(found)
    kinds: Any = schema.get("type", "")
    if isinstance(kinds, list):
        return " or ".join(_type(schema | {"type": kind}) for kind in kinds if kind != "null")
    if kinds == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("format") == "date-time" and kinds == "string":
        return "time"
    kind = str(kinds)
    return _WORDS.get(kind, kind) + _range(schema if kind in ("integer", "number") else {})


_WORDS: Final[dict[str, str]] = {"string": "text", "boolean": "true or false", "integer": "whole number"}


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None:
        return f" from {low} to {high}"
    return "" if low in (None, 0) else f" from {low}"


def _resolved(schema: Schema) -> Any:
    return document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(page(), "utf-8")
