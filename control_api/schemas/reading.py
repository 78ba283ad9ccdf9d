"""Fields by name, as a body or a query string gives them, become a struct: each field known, each value checked."""

import difflib
import enum
import functools
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from control_api.schemas import values
from control_api.schemas.values import Schema, Value
from mta.model.errors import BadValue

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Field(NamedTuple):
    """One field of a struct of a body or a query string."""

    name: str  # as clients write it
    attribute: str
    value: Value
    description: str
    default: Any  # NODEFAULT: it must be given
    can_be_null: bool  # in an edit, where null takes the field away


class Body(NamedTuple):
    """A body: fields of a struct. Where it is an edit, fields that are not given stay as they are."""

    name: str  # in the description
    struct: type[msgspec.Struct]
    leaves_out: frozenset[str] = frozenset()  # fields of the struct that this body has not
    ignores: frozenset[str] = frozenset()  # fields that it has and that are not read
    is_edit: bool = False
    agreements: tuple[Schema, ...] = ()  # values that fit each other: one of these schemas must hold
    json_only: bool = False  # no form can say it
    items: "Body | None" = None  # of its list, where that has bodies
    others: Schema | None = None  # of further fields, which have any name; None: there are none
    most_others: int = 0

    def fields(self) -> dict[str, Field]:
        """By name."""
        return {name: field for name, field in fields_of(self.struct).items() if name not in self.leaves_out}

    def lists(self) -> frozenset[str]:
        """Fields that a form or a query string may repeat."""
        return frozenset(name for name, field in self.fields().items() if field.value.repeats)

    def read(self, given: Mapping[str, Any], noun: str) -> dict[str, Any]:
        """The values that are given, by attribute; `noun` is what an unknown field is not. Null means absent, or,
        in an edit, that the field is taken away. Raises BadValue."""
        fields = self.fields()
        check_names(given, fields, noun)
        found = {}
        for name, field in fields.items():
            value = given.get(name)
            if name in self.ignores or (value is None and (name not in given or not self.is_edit)):
                if field.default is msgspec.NODEFAULT and name not in self.ignores and not self.is_edit:
                    raise BadValue(name, f"is required; {field.value.hint}")
            elif value is not None:
                found[field.attribute] = field.value.read(value, name)
            elif field.can_be_null:
                found[field.attribute] = None
            else:
                raise BadValue(name, f"cannot be null; {field.value.hint}")
        return found


def read_struct(struct: type[_Struct], given: Mapping[str, Any], noun: str) -> _Struct:
    """A whole struct. Raises BadValue."""
    return struct(**Body("", struct).read(given, noun))


def check_names(given: Collection[str], known: Collection[str], noun: str) -> None:
    """Raises BadValue for the first name that is not known, with the nearest that is, and all there are."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise BadValue(name[:100], f"is not {noun}; {hint}there are {', '.join(sorted(known)) or 'none'}")


@functools.cache
def fields_of(struct: type[msgspec.Struct]) -> dict[str, Field]:
    """By name."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {field.encode_name: _field(field, hints[field.name]) for field in msgspec.structs.fields(struct)}


def _field(field: msgspec.structs.FieldInfo, hint: Any) -> Field:
    kind, *notes = typing.get_args(hint)
    types = typing.get_args(kind) if not _is_literal(kind) else ()
    given = [note for note in notes if isinstance(note, Value)]
    (meta,) = [note for note in notes if isinstance(note, msgspec.Meta)]
    value = given[0] if given else _value_of(next((one for one in types if one is not type(None)), kind))
    return Field(
        field.encode_name, field.name, value, meta.description or "", field.default, can_be_null=type(None) in types
    )


@functools.cache
def _value_of(kind: Any) -> Value:
    """The kind of value that a type implies."""
    if kind is bool:
        return values.FLAG
    if _is_literal(kind):
        return values.choice(typing.get_args(kind))
    assert issubclass(kind, enum.StrEnum), f"{kind} needs a Value"
    return values.choice(kind)


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is Literal
