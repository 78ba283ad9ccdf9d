"""The values that answers are made of; a field that is not known is left out (UNSET), not null, unless it says so."""

import typing
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import NODEFAULT, Meta, Struct, defstruct
from msgspec.structs import fields as fields_of

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]  # RFC 3339 in UTC, with milliseconds
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


def known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


class ErrorDetails(Struct, kw_only=True, frozen=True):
    """The reason of a refusal."""

    type: str
    message: str
    field: str | None
    request_id: str


class Error(Struct, kw_only=True, frozen=True):
    """A refusal."""

    error: ErrorDetails


def joined(name: str, doc: str, *parts: type[Struct]) -> Any:
    """A struct with the fields of several: an answer that says several things of one rule."""
    fields: list[Any] = []
    for part in parts:
        hints = typing.get_type_hints(part, include_extras=True)
        for field in fields_of(part):
            default = () if field.default is NODEFAULT else (field.default,)
            fields.append((field.name, hints[field.name], *default))
    return defstruct(name, fields, namespace={"__doc__": doc}, module=__name__, kw_only=True, frozen=True)
