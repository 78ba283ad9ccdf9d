"""The facts that a settings struct states about its keys: type, unit, bounds, prose."""

import functools
import types
import typing
from typing import Annotated, Any, NamedTuple

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import fields as struct_fields

from mta.model.settings import Unit


class Field(NamedTuple):
    """One key. `type` is bare of annotations; `unit` and the bounds hold for each item of a list or table."""

    name: str
    attribute: str  # of the struct
    type: Any
    default: Any
    unit: Unit | None
    least: float | None
    most: float | None
    min_length: int
    prose: str


@functools.cache
def fields_of(struct: type[Struct]) -> dict[str, Field]:
    """The keys of `struct`, in order."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {field.encode_name: _field(field, hints[field.name]) for field in struct_fields(struct)}


def item_of(kind: Any) -> Any:
    """The type of the items of a list (`tuple[X, ...]`) or of the values of a table (`dict[str, X]`)."""
    arguments = typing.get_args(kind)
    return arguments[0] if typing.get_origin(kind) is tuple else arguments[1]


def _field(field: Any, hint: Any) -> Field:
    bare, notes = _bare(hint)
    meta = [note for note in notes if isinstance(note, Meta)]
    units = [note for note in notes if isinstance(note, Unit)]
    least = [m.ge for m in meta if m.ge is not None]
    most = [m.le for m in meta if m.le is not None]
    return Field(
        name=field.encode_name,
        attribute=field.name,
        type=bare,
        default=field.default if field.default_factory is NODEFAULT else field.default_factory(),
        unit=units[0] if units else None,
        least=least[0] if least else None,
        most=most[0] if most else None,
        min_length=next((m.min_length for m in meta if m.min_length is not None), 0),
        prose=next((m.description for m in meta if m.description), ""),
    )


def _bare(hint: Any) -> tuple[Any, list[Any]]:
    """The type without its annotations, and these, those of a list's items included."""
    notes: list[Any] = []
    if typing.get_origin(hint) is Annotated:
        notes += hint.__metadata__
        hint = hint.__origin__
    if typing.get_origin(hint) in (tuple, dict):
        origin, arguments = typing.get_origin(hint), []
        for argument in typing.get_args(hint):
            bare, more = _bare(argument)
            arguments.append(bare)
            notes += more
        hint = types.GenericAlias(origin, tuple(arguments))
    return hint, notes
