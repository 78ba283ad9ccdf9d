"""The values that answers are made of; a field that is not known is left out (UNSET), not null, unless it says so."""

import typing
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import fields as fields_of

from mta.model.units import TimeText

Time = TimeText
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
    """A refusal. `matched` stands beside that of an order with a bound: how many deliveries the order matches."""

    error: ErrorDetails
    matched: Count | UnsetType = UNSET


def joined(name: str, doc: str, *parts: type[Struct]) -> Any:
    """A struct with the fields of several: an answer that says several things of one rule."""
    return _made(name, doc, [field for part in parts for field in _fields(part)])


def own_fields(name: str, struct: type[Struct]) -> Any:
    """A struct with the fields that `struct` adds to those of its base."""
    inherited = {field.name for base in struct.__bases__ for field in fields_of(base)}
    return _made(name, struct.__doc__ or "", [field for field in _fields(struct) if field[0] not in inherited])


def _fields(struct: type[Struct]) -> list[Any]:
    """(name, type) or (name, type, default) of each field."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return [
        (field.name, hints[field.name], *(() if field.default is NODEFAULT else (field.default,)))
        for field in fields_of(struct)
    ]


def _made(name: str, doc: str, fields: list[Any]) -> Any:
    return defstruct(name, fields, namespace={"__doc__": doc}, module=__name__, kw_only=True, frozen=True)
