"""Records of deliveries as lines of JSON, many at once, with few objects of Python for each."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec

from mta.model.delivery_facts import CELLS, Facts, facts_of
from mta.model.json_lines import json_lines
from mta.model.status import DeliveryRow


class _Error(msgspec.Struct, omit_defaults=True, gc=False):
    code: int
    enhanced: str = ""
    text: str = ""


class _Forced(msgspec.Struct, omit_defaults=True, gc=False):
    rule: str
    generation: int
    stage: str = ""
    by: str = ""


def _names() -> list[str]:
    """The names of a record, nested ones once."""
    return list(dict.fromkeys(name.partition(".")[0] for name in CELLS))


_Record: Any = msgspec.defstruct(
    "_Record",
    [(name, Any) if name == "id" else (name, Any, None if name == "sender" else "") for name in _names()],
    omit_defaults=True,
    gc=False,
)

_CODE, _RULE = CELLS.index("error.code"), CELLS.index("forced.rule")
_before_error = itemgetter(slice(0, _CODE))
_after_forced = itemgetter(slice(_RULE + 4, None))


def _record(facts: Facts) -> Any:
    code, enhanced, text, category, fault, rule, generation, stage, by = facts[_CODE : _RULE + 4]
    return _Record(
        *_before_error(facts),
        _Error(code, enhanced, text) if code else "",
        category,
        fault,
        _Forced(rule, generation, stage, by) if rule else "",
        *_after_forced(facts),
    )


def records(rows: Sequence[DeliveryRow]) -> list[Any]:
    """To be encoded as JSON, alone or as parts of others."""
    return [_record(facts) for facts in facts_of(rows)]


def record_lines(rows: Sequence[DeliveryRow]) -> bytes:
    """One JSON object a line, each with its line end."""
    return json_lines(records(rows))
