"""The store carries an order out and its answer is lost: the order is not called a failure."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lossy_store import LossyStore
from tests.support.node import Node, running, until
from tests.support.shell import Shell
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, LossyStore]]:
    folder = tmp_path_factory.mktemp("lost")
    valkey, sink = Valkey(folder / "valkey"), SinkThread()
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(valkey, sink))
        way = stack.enter_context(LossyStore(valkey.port))
        node = Node(
            folder / "n1",
            redis=f"redis://127.0.0.1:{way.port}",
            delivery__route=sink.address,
            rules__max_staleness="1s",
            redis__timeout="2s",
        )
        node.token = None
        stack.enter_context(pytest.MonkeyPatch.context()).delenv("FLOODGATE_ADMIN_TOKEN", raising=False)
        stack.enter_context(running(node))
        yield Shell(node, sink), way


def wait_mail(shell: Shell, tag: str, count: int = 1) -> None:
    shell.node.send([f"{n}@{tag}.test" for n in range(count)], (tag,), X_MQ_Delayed="+1h")


def rules(shell: Shell, kind: str, tag: str) -> list[Any]:
    found = until(lambda: shell.node.call("GET", f"/v1/{kind}?enabled=all&tag={tag}"))
    return found[1]


def test_k2_an_order_whose_answer_is_lost_is_made_and_said_to_be(rig: tuple[Shell, LossyStore]) -> None:
    shell, way = rig
    wait_mail(shell, "k2c", 3)
    way.lose(b"rules_change")
    made = shell.run("cancel", "--tag", "k2c", "--yes", "--json")
    assert (made.status, way.lost) == (0, 1), made
    assert made.json["statement"]["intercepted"]["queued"] == 3
    (rule,) = rules(shell, "errors", "k2c")
    assert rule["generation"] == made.json["rule"]["generation"], "it was made once"

    way.lose(b"rules_change")
    edited = shell.run("errors", "edit", rule["id"], "--reason", "late", "--yes")
    assert (edited.status, way.lost) == (0, 1), edited
    (rule,) = rules(shell, "errors", "k2c")
    assert rule["reason"] == "late"

    way.lose(b"rules_change")
    undone = shell.run("errors", "undo", rule["id"])
    assert (undone.status, way.lost, "3 returned" in undone.out) == (0, 1, True), undone

    way.lose(b"rules_change")
    removed = shell.run("errors", "remove", rule["id"])
    assert (removed.status, way.lost, rules(shell, "errors", "k2c")) == (0, 1, []), removed


def test_k2_freeze_and_convert_whose_answers_are_lost(rig: tuple[Shell, LossyStore]) -> None:
    shell, way = rig
    wait_mail(shell, "k2f", 2)
    way.lose(b"rules_change")
    frozen = shell.run("freeze", "--tag", "k2f", "--json")
    assert (frozen.status, way.lost, frozen.json["statement"]["held"]) == (0, 1, 2), frozen
    way.lose(b"rules_change")
    pause = frozen.json["rule"]["id"]
    converted = shell.run("pauses", "convert", pause, "554", "--until", "swept", "--yes")
    assert (converted.status, way.lost) == (0, 1), converted
    assert shell.node.statement("k2f")["intercepted"]["queued"] == 2
    assert rules(shell, "pauses", "k2f") == []


def test_k2_an_undo_counts_what_returned_by_a_step_whose_answer_is_lost(rig: tuple[Shell, LossyStore]) -> None:
    shell, way = rig
    wait_mail(shell, "k2u", 3)
    made = shell.run("cancel", "--tag", "k2u", "--yes", "--json")
    assert made.status == 0, made
    way.lose(b"reinstate")
    undone = shell.run("errors", "undo", made.json["rule"]["id"])
    assert (undone.status, way.lost) == (0, 1), undone
    assert "3 returned to their queues, 0 left" in undone.out
    assert shell.node.statement("k2u")["queued"] == 3


def test_k2_a_message_whose_cancellation_is_not_answered_is_canceled(rig: tuple[Shell, LossyStore]) -> None:
    shell, way = rig
    (message,) = shell.node.send("a@k2m.test", ("k2m",), X_MQ_Delayed="+1h")
    way.lose(b"_cancel")
    canceled = shell.run("messages", "cancel", message)
    assert (canceled.status, way.lost) == (0, 1), canceled
    assert shell.node.statement("k2m")["canceled"] == 1


def test_k2_what_cannot_be_found_out_is_called_unknown(rig: tuple[Shell, LossyStore]) -> None:
    shell, way = rig
    wait_mail(shell, "k2n")
    way.lose(b"rules_change", 1000)
    unknown = shell.run("cancel", "--tag", "k2n", "--yes")
    way.lose(b"")
    assert (unknown.status, unknown.out, unknown.err.count("\n")) == (1, "", 1), unknown
    assert "it is not known whether the order was made" in unknown.err
    assert "floodgate errors list --enabled all" in unknown.err
    assert len(rules(shell, "errors", "k2n")) == 1, "it was, once"
    until(lambda: shell.node.statement("k2n")["queued"] == 0)
