"""Brakes as requests order them and as answers show them."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from control_api.schemas import values
from control_api.schemas.account_values import TENANT_NAME
from control_api.schemas.answers import Count, Seconds, Time
from control_api.schemas.reading import Body, Field
from control_api.schemas.rule_bodies import AGREEMENTS, SELECTORS, ForcedErrorBody
from control_api.schemas.values import Schema, Value
from mta.model.brakes import Metric
from mta.model.errors import BadValue
from mta.model.units import parse_duration

_LONGEST: Final = 30 * 86400.0  # seconds
_ID: Final = "[0-9a-f]{22}"
_LARGEST: Final = 9_999_999_999


class BrakeSelectorsBody(Struct, kw_only=True, frozen=True):
    """The mail that a brake watches: that of one tag, or of each tag by itself."""

    tag: Annotated[str | None, values.TAG, Meta(description="mail with this tag")] = None
    each: Annotated[Literal["tag"] | None, Meta(description="tag: every tag is watched by itself; instead of tag")] = (
        None
    )
    pool: Annotated[str | None, values.POOL, Meta(description="only mail of this IP pool, or @<ip>")] = None
    site: Annotated[
        str | None, values.SITE, Meta(description="only mail to this site: the provider that takes its domains' mail")
    ] = None
    tenant: Annotated[str | None, TENANT_NAME, Meta(description="only mail of this account")] = None


_SELECTORS: Final = Body("BrakeSelectors", BrakeSelectorsBody)
RULE: Final = Body("BrakeRule", ForcedErrorBody, leaves_out=SELECTORS | {"enabled", "expires_at", "duration"})


def _schema(fields: Mapping[str, Field]) -> Schema:
    properties = {
        name: of.value.schema | ({"description": of.description} if of.description else {})
        for name, of in fields.items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _nested(body: Body, noun: str) -> Callable[[Any, str], dict[str, Any]]:
    """The fields that are given, as they are; an error names the field by its path."""

    def read(value: Any, at: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadValue(at, "is not an object; give fields by name")
        for name, given in value.items():
            if given is None:
                raise BadValue(f"{at}.{name}", "cannot be null; leave it out")
        try:
            found = body.read(value, noun)
        except BadValue as bad:
            raise BadValue(f"{at}.{bad.field}", bad.reason) from None
        return {name: value[name] for name, of in body.fields().items() if found.get(of.attribute) is not None}

    return read


def _read_selectors(value: Any, at: str) -> dict[str, Any]:
    for name, given in value.items() if isinstance(value, dict) else ():
        if not isinstance(given, str) or given.strip(values.BLANKS) in ("", "*"):
            raise BadValue(f"{at}.{name}", 'is not the name of one thing; give one, or each: "tag" for every tag')
    found = _nested(_SELECTORS, "a selector of a brake")(value, at)
    if ("tag" in found) == ("each" in found):
        raise BadValue(f"{at}.tag", 'must be given, or each: "tag" instead of it, which watches every tag by itself')
    return found


def _read_action(value: Any, at: str) -> dict[str, Any] | None:
    """None: a pause."""
    if value == "pause":
        return None
    if not isinstance(value, dict):
        raise BadValue(at, 'is neither "pause" nor a forced error such as {"code": 554, "extended": "5.7.1"}')
    return _nested(RULE, "a field of a brake's rule")(value, at)


def _read_metric(value: Any, at: str) -> Metric:
    if value == "complaint":
        raise BadValue(at, f"complaint needs reports of complaints, which this release does not take; {_METRICS}")
    if not isinstance(value, str) or value not in [metric.value for metric in Metric]:
        raise BadValue(at, f"is not a metric; {_METRICS}")
    return Metric(value)


def _read_ratio(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise BadValue(at, "is not a ratio; give a number from 0 to less than 1, such as 0.05 for 5 %")
    return float(value)


def _read_least(value: Any, at: str) -> int:
    """A whole number, which JSON may write as 1000.0."""
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
        raise BadValue(at, f"is not a whole number from 1 to {_LARGEST}")
    return value


def _read_span(value: Any, at: str) -> float:
    seconds = parse_duration(value, at)
    if not 1 <= seconds <= _LONGEST:
        raise BadValue(at, "must be from 1s to 30d")
    return seconds


def _read_id(value: Any, at: str) -> str:
    if not isinstance(value, str) or re.fullmatch(_ID, value) is None:
        raise BadValue(at, values.NO_CURSOR)
    return value


_METRICS: Final = f"there are {', '.join(metric.value for metric in Metric)}"
_BRAKE_ID = Value(_read_id, values.a_text(_ID))
_SELECTION = Value(
    _read_selectors,
    _schema(_SELECTORS.fields()) | {"oneOf": [{"required": ["tag"]}, {"required": ["each"]}]},
    'give {"tag": "…"} or {"each": "tag"}',
)
_ACTION = Value(
    _read_action,
    {
        "anyOf": [
            {"type": "string", "enum": ["pause"]},
            _schema(RULE.fields()) | {"required": ["code"], "anyOf": list(AGREEMENTS)},
        ]
    },
    'give "pause", or a forced error such as {"code": 554}',
)
_METRIC = Value(_read_metric, {"type": "string", "enum": [metric.value for metric in Metric]}, _METRICS)
_RATIO = Value(
    _read_ratio, {"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "give a number such as 0.05 for 5 %"
)
_LEAST = Value(
    _read_least, {"type": "integer", "minimum": 1, "maximum": _LARGEST}, "give the least number that it judges by"
)
_SPAN = Value(
    _read_span,
    {
        "anyOf": [
            {"type": "number", "minimum": 1, "maximum": _LONGEST},
            values.a_text("[1-9][0-9]{0,2}[smh]|[12]?[1-9]d"),
        ]
    },
    'give a duration such as "10m"',
)


class NewBrakeBody(Struct, kw_only=True, frozen=True):
    """A brake."""

    selectors: Annotated[dict[str, Any], _SELECTION, Meta(description="the mail that it watches")]
    metric: Annotated[Metric, _METRIC, Meta(description="the failures that count; hard_bounce is every bounce")]
    ratio: Annotated[
        float,
        _RATIO,
        Meta(description="failures by deliveries that ended (deferral: by attempts), beyond which it pulls"),
    ]
    min: Annotated[int, _LEAST, Meta(description="deliveries (attempts) of the window below which it never pulls")]
    window: Annotated[float, _SPAN, Meta(description="the time that it looks back: 1s to 30d")]
    action: Annotated[dict[str, Any] | None, _ACTION, Meta(description="pause, or the forced error that it makes")]
    for_: Annotated[
        float | None, _SPAN, Meta(description="how long its rule lasts: 1s to 30d; default: until it is lifted")
    ] = field(default=None, name="for")


NEW: Final = Body("NewBrake", NewBrakeBody, json_only=True)


class BrakeSelectors(Struct, kw_only=True, frozen=True):
    """The mail that a brake watches."""

    tag: str | UnsetType = UNSET
    each: str | UnsetType = UNSET
    pool: str | UnsetType = UNSET
    site: str | UnsetType = UNSET
    tenant: str | UnsetType = UNSET


class BrakePull(Struct, kw_only=True, frozen=True):
    """The last pull of a brake for a tag."""

    tag: str
    at: Time
    hits: Annotated[int, Meta(ge=0, description="failures in the window")]
    counted: Annotated[int, Meta(ge=0, description="deliveries, or attempts, in the window")]
    rule: Annotated[str | None, Meta(description="its rule; null until it is made")]
    lifted_at: Annotated[Time | None, Meta(description="since when the rule is not in force any more")]
    pulls: Annotated[int, Meta(ge=1, description="pulls for this tag so far")]


class BrakeRate(Struct, kw_only=True, frozen=True):
    """The window as it stands."""

    hits: Count
    counted: Count
    ratio: Annotated[float | None, Meta(description="null: nothing is counted")]


class Brake(Struct, kw_only=True, frozen=True):
    """A brake."""

    id: str
    selectors: BrakeSelectors
    metric: Metric
    ratio: float
    min: Count
    window: Seconds
    action: Annotated[
        Literal["pause"] | dict[str, str | int | bool], Meta(description="pause, or the forced error that it makes")
    ]
    for_: Seconds | UnsetType = field(default=UNSET, name="for")
    created_at: Time
    created_by: str
    pulled: Annotated[int, Meta(ge=0, description="tags for which its rule is in force")]


class WholeBrake(Brake, kw_only=True, frozen=True):
    """A brake with its pulls."""

    pulls: Annotated[list[BrakePull], Meta(description="the last one of each tag, the newest first; at most 100")]
    rate: Annotated[BrakeRate | UnsetType, Meta(description="of a brake for one tag")] = UNSET


class Brakes(Struct, kw_only=True, frozen=True):
    """A page of brakes; `cursor` is null on the last page."""

    brakes: list[Brake]
    cursor: str | None


class BrakesQuery(Struct, kw_only=True, frozen=True):
    """A selection of brakes, and the size of a page."""

    tag: Annotated[str | None, values.ONE_TAG, Meta(description="brakes for this tag")] = None
    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 100
    cursor: Annotated[str | None, _BRAKE_ID, Meta(description="opaque, from the answer before")] = None
