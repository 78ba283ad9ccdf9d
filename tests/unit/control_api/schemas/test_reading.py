"""Structs of bodies and query strings: what is read, and how a mistake is named."""

from typing import Annotated, Literal

import pytest
from msgspec import UNSET, Meta, Struct, field

from control_api.description.shapes import body_schema, form_schema, query_parameters
from control_api.operations import GROUPS
from control_api.schemas import values
from control_api.schemas.reading import Body, fields_of, read_struct
from mta.model.errors import BadValue


class Sample(Struct, kw_only=True, frozen=True):
    """A sample."""

    code: Annotated[int, values.CODE, Meta(description="a code")]
    flag: Annotated[bool, Meta(description="a flag")] = False
    colour: Annotated[Literal["red", "blue"] | None, Meta(description="a colour")] = "red"
    lasting: Annotated[float | None, values.DURATION, Meta(description="how long")] = field(default=None, name="for")


SAMPLE = Body("Sample", Sample)
EDIT = Body("SampleEdit", Sample, leaves_out=frozenset({"for"}), is_edit=True)


def test_each_value_is_read_and_the_rest_takes_its_default() -> None:
    assert read_struct(Sample, {"code": "554", "flag": "TRUE", "for": "1m"}, "") == Sample(
        code=554, flag=True, lasting=60.0
    )
    assert read_struct(Sample, {"code": 554, "flag": None, "colour": None}, "") == Sample(code=554)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({}, "code", "is required; give 400 to 599"),
        ({"code": None}, "code", "is required; give 400 to 599"),
        (
            {"code": 554, "color": "red"},
            "color",
            "is not a field; did you mean colour? there are code, colour, flag, for",
        ),
        ({"code": 554, "Flag": "red"}, "Flag", "did you mean flag?"),
        ({"code": 554, "xyz": 1}, "xyz", "is not a field; there are code"),
        ({"code": 554, "colour": "green"}, "colour", "is none of red, blue"),
        ({"code": 554, "flag": 1}, "flag", "is neither true nor false"),
        ({"code": 554, "for": "soon"}, "for", 'such as "30s"'),
    ],
)
def test_a_mistake_is_named_with_its_fix(given: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(BadValue, match=field) as bad:
        read_struct(Sample, given, "a field")
    assert bad.value.field == field
    assert words in bad.value.reason


def test_null_in_an_edit_takes_a_field_away_where_it_can_be_missing() -> None:
    assert EDIT.read({"colour": None, "flag": True}, "") == {"colour": None, "flag": True}
    for name, words in (("code", "cannot be null; give 400"), ("flag", "cannot be null; give true or false")):
        with pytest.raises(BadValue, match=words):
            EDIT.read({name: None}, "")
    with pytest.raises(BadValue, match="is not a field"):
        EDIT.read({"for": "1m"}, "a field")


def test_the_schemas_say_what_the_reader_does() -> None:
    whole, edit = body_schema(SAMPLE), body_schema(EDIT)
    assert (whole["required"], edit["required"], edit["minProperties"]) == (["code"], [], 1)
    assert whole["properties"]["flag"]["anyOf"][-1] == {"type": "null"}
    assert {"type": "null"} not in edit["properties"]["flag"]["anyOf"]
    assert whole["properties"]["colour"] == {
        "type": ["string", "null"],
        "enum": ["red", "blue", None],
        "description": "a colour",
    }
    assert form_schema(whole)["properties"]["colour"] == {
        "type": "string",
        "enum": ["red", "blue"],
        "description": "a colour",
    }
    assert [(one["name"], one.get("required", False)) for one in query_parameters(Sample)] == [
        ("code", True),
        ("flag", False),
        ("colour", False),
        ("for", False),
    ]


def test_each_field_of_a_body_and_a_query_is_described() -> None:
    operations = [operation for group in GROUPS for operation in group.operations]
    structs = {operation.query for operation in operations}
    structs |= {operation.body.struct for operation in operations if operation.body is not None}
    for struct in structs:
        for name, one in fields_of(struct).items():
            assert one.description, f"{struct.__name__}.{name}"
            assert one.default is not UNSET
