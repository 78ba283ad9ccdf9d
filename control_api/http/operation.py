"""An operation of the API: its handler, and all that clients must know to use it.

The application routes the operations, and the description is made of them, so that neither can have one more.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import hdrs, web
from msgspec import Struct

from control_api.http.bodies import JSON_TYPE
from control_api.http.middleware import Handler
from control_api.schemas.queries import NoQuery
from control_api.schemas.reading import Body
from control_api.schemas.values import Schema, Value
from mta.model.scopes import Scope

BODY_REFUSALS: Final = (408, 413, 415)  # of each operation that reads a body


class Opening(enum.Enum):
    """Whether an operation needs a token."""

    TOKEN = "needs a token"
    OPEN = "needs none"
    METRICS = "needs one unless api.metrics_open says otherwise"


class Parameter(NamedTuple):
    """A part of the path, or a header field."""

    name: str
    schema: Schema
    description: str = ""


class Answer(NamedTuple):
    """An answer that is no refusal."""

    status: int
    of: Any  # a struct; where `media` is no JSON, the schema
    description: str
    headers: tuple[Parameter, ...] = ()
    media: str = JSON_TYPE
    is_list: bool = False  # of such structs
    or_of: tuple[Any, ...] = ()  # other structs that the answer may be
    or_text: bool = False  # or lines of plain text, where they are asked for
    or_media: tuple[str, ...] = ()  # or other forms, where they are asked for


class Example(NamedTuple):
    """A request that a node answers with `status`; a word behind a `$` stands for the id of something that is there."""

    target: str  # path and query string
    body: Mapping[str, Any] | None = None
    status: int = 200


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    handler: Handler
    name: str  # for generators of clients
    summary: str
    answers: tuple[Answer, ...]
    example: Example
    scope: Scope | None  # that a token needs; None where the operation is open
    for_tenants: bool = False  # tokens that are bound to a tenant may use it: its handler keeps to `Actor.tenant`
    description: str = ""
    refusals: tuple[int, ...] = ()  # beside those that all operations have
    path_values: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    query: type[Struct] = NoQuery
    body: Body | None = None
    body_or_query: bool = False  # the body's fields may stand in the query string instead
    opening: Opening = Opening.TOKEN

    def route(self) -> web.RouteDef:
        """The route of the application."""
        if self.method == hdrs.METH_GET:
            is_stream = any(answer.media == "text/event-stream" for answer in self.answers)
            return web.get(self.path, self.handler, allow_head=not is_stream)
        return web.route(self.method, self.path, self.handler)


class Group(NamedTuple):
    """Operations of one noun."""

    name: str
    description: str
    operations: tuple[Operation, ...]


def a_parameter(name: str, value: Value, description: str = "") -> Parameter:
    """A parameter of one kind of value."""
    return Parameter(name, value.schema, description)
