"""Decisions that deliveries of a batch have in common are sent once, and no two that differ as one."""

from typing import Any

import msgspec
import pytest

from mta.model.mail import QueueKey
from mta.model.outcomes import Class
from mta.ports.queueing import Move, Settlement
from mta.redis_store.steps.settle import Batch, Kind, settle_call

ENDS: dict[str, Any] = {"move": Move.END, "ended": Class.INTERCEPTED, "event": b"e", "late_event": None}
WAITS: dict[str, Any] = {"move": Move.QUEUE, "event": b"e", "late_event": None}
DIFFER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (ENDS, {"ended": Class.CANCELED}),
    (ENDS, {"move": Move.PARK, "ended": None}),
    (WAITS, {"stage": "mail"}),
    (WAITS, {"generation": 4}),
    (WAITS, {"rule": "r"}),
    (WAITS, {"uncertain": True}),
    (WAITS, {"delivered_late": True}),
    (WAITS, {"deferred_by_rule": True}),
    (WAITS, {"past_dot_of": ("r",)}),
    (WAITS, {"left_rule": "r"}),
    (WAITS, {"again": True}),
    (WAITS, {"spare_ms": 5}),
    (WAITS, {"late_event": b"late"}),
    (WAITS, {"event": b""}),
    (ENDS, {"event": b""}),
    (ENDS, {"again": True}),
    (ENDS, {"delivered_late": True}),
]


def change(number: int = 0, **fields: Any) -> Settlement:
    return Settlement(id=bytes([number]) * 18, token=b"1", queue=QueueKey("p", "d"), tags=("a",), **fields)


def batch(*changes: Settlement) -> Batch:
    blob = settle_call(b"fg:{0}:", "s", 1000, changes)[1][0]
    return Batch(*msgspec.msgpack.decode(blob))


@pytest.mark.parametrize(("base", "other"), DIFFER, ids=lambda fields: "-".join(fields))
def test_two_that_differ_are_of_two_kinds(base: dict[str, Any], other: dict[str, Any]) -> None:
    found = batch(change(0, **base), change(1, **base), change(2, **base | other))
    assert found.kind_of == [1, 1, 2]
    assert found.kinds[0] != found.kinds[1]


def test_each_field_of_a_kind_is_tried() -> None:
    changed = {name for _, other in DIFFER for name in other}
    renamed = {"ended": "class_", "deferred_by_rule": "deferred", "late_event": "told_late", "event": "told"}
    assert {renamed.get(name, name) for name in changed} == set(Kind._fields) - {"plain"}
