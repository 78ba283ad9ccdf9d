"""Orders about history, and how far they are."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas.answers import Count
from control_api.schemas.reading import Body
from control_api.schemas.text_values import RECIPIENT
from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue


def _read_lane(value: Any, name: str) -> str:
    if isinstance(value, str) and (value == "rules" or (value.isascii() and value.isdigit() and len(value) <= 4)):
        return value
    raise BadValue(name, "is not a lane; give the number that the log names, or rules")


def _read_erasure(value: Any, name: str) -> str:
    if isinstance(value, str) and len(value) == 32 and not set(value) - set("0123456789abcdef"):
        return value
    raise BadValue(name, "is not the id of an erasure; take it from the answer to the order")


LANE: Final = Value(_read_lane, a_text("rules|[0-9]{1,4}"))
ERASURE_ID: Final = Value(_read_erasure, a_text("[0-9a-f]{32}"))


class ForgetOrder(Struct, kw_only=True, frozen=True):
    """An address that history forgets, as a recipient and as a sender."""

    address: Annotated[str, RECIPIENT, Meta(description="the address; compared without case")]


class SkipOrder(Struct, kw_only=True, frozen=True):
    """A lane whose missing events history gives up."""

    lane: Annotated[str, LANE, Meta(description="the lane that the log names, a number or `rules`")]


FORGET: Final = Body("ForgetOrder", ForgetOrder)
SKIP: Final = Body("SkipOrder", SkipOrder)


class LogWithAddress(Struct, kw_only=True, frozen=True):
    """A file that still has the address: Floodgate changes no log."""

    node: str
    path: str


class Erasing(Struct, kw_only=True, frozen=True):
    """How far an erasure is; `waiting` names nodes whose journal has not answered yet."""

    id: str
    state: Literal["running", "done"]
    deliveries: Count
    events: Count
    log_files: list[LogWithAddress]
    waiting: list[str] | UnsetType = UNSET


class Skipped(Struct, kw_only=True, frozen=True):
    """The lane whose events are given up where a journal waits for them."""

    lane: str
