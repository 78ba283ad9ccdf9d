"""The client commands as people and scripts call them: programs of their own against a live node."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node import Node, running, standing_still, until
from tests.support.recount import assert_balanced
from tests.support.shell import Shell
from tests.support.sink_thread import SinkThread


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    sink = SinkThread().start()
    node = Node(
        tmp_path_factory.mktemp("s11") / "n1",
        delivery__route=sink.address,
        delivery__lease="20s",
        rules__max_staleness="5s",
    )
    node.token = None  # the file in the data directory is what the commands find
    with contextlib.ExitStack() as stack:
        stack.callback(sink.stop)
        stack.enter_context(pytest.MonkeyPatch.context()).delenv("FLOODGATE_ADMIN_TOKEN", raising=False)
        stack.enter_context(running(node))
        yield Shell(node, sink)
        assert_balanced(node.ready["redis"])


def test_cancel_ends_a_campaign_follows_the_sweep_and_prints_its_statement(shell: Shell):
    node = shell.node
    node.send([f"u{n}@c{n % 3}.test" for n in range(30)], ("camp",), X_MQ_Delayed="+1h")
    node.send("keep@c0.test", ("keep",), X_MQ_Delayed="+1h")
    node.send("gone@c0.test", ("camp",))
    until(lambda: node.statement("camp")["delivered"] == 1)
    assert shell.run("cancel", "--tag", "camp").status == 2, "nobody can be asked"
    assert node.statement("camp")["queued"] == 30
    said = shell.run("cancel", "--tag", "camp", "--reason", "a mistake", "--yes")
    assert said.status == 0, said
    assert "effective everywhere since 2" in said.out
    assert "sweep done: " in said.err
    assert said.out.splitlines()[0] == f"rule {node.call('GET', '/v1/errors')[1][0]['id']}"
    told = [line for line in said.out.splitlines() if line.startswith("Campaign camp, canceled ")]
    assert told[0].endswith(" by admin (a mistake): 31 accepted, 1 had it, 30 stopped, 0 undecided."), said
    assert "The account balances." in said.out
    statement = node.statement("camp")
    assert (statement["queued"], statement["intercepted"]["queued"]) == (0, 30)
    assert node.statement("keep")["queued"] == 1
    again = shell.run("cancel", "--tag", "keep", "--domain", "*.c0.test", "--yes", "--json")
    assert again.status == 0, again
    assert (again.json["rule"]["code"], again.json["rule"]["domain"]) == (554, "*.c0.test")
    assert (again.json["statement"]["matched"], again.json["statement"]["complete"]) == (0, True)
    assert node.statement("keep")["queued"] == 1


def test_cancel_of_queued_mail_only_lets_the_corrected_send_pass(shell: Shell):
    node = shell.node
    node.send([f"wrong{n}@fix.test" for n in range(5)], ("fix",), X_MQ_Delayed="+1h")
    said = shell.run("cancel", "--tag", "fix", "--queued-only", "--yes")
    assert said.status == 0, said
    assert "mail that is accepted later passes" in said.out
    assert "5 stopped" in said.out
    node.send([f"right{n}@fix.test" for n in range(5)], ("fix",))
    until(lambda: node.statement("fix")["delivered"] == 5)
    assert node.statement("fix")["intercepted"]["queued"] == 5
    assert {r.recipients[0] for r in shell.sink.to("fix.test")} == {f"right{n}@fix.test" for n in range(5)}
    assert shell.run("cancel", "--tag", "fix", "--queued-only", "--accepted-before", "now", "--yes").status == 2


def test_forced_errors_are_added_listed_shown_accounted_for_and_removed_by_hand(shell: Shell):
    node = shell.node
    node.send(["a@hand.test", "b@hand.test"], ("hand",), X_MQ_Delayed="+1h")
    added = shell.run(
        "errors", "add", "550", "--tag", "hand", "--extended", "5.7.1", "--until", "swept", "--yes", "--json"
    )
    assert added.status == 0, added
    id_ = added.json["id"]
    listed = shell.run("errors", "list", "--tag", "hand", "--json")
    assert [(rule["id"], rule["code"], rule["hits"]) for rule in listed.json] == [(id_, 550, 2)]
    assert f"{id_}  550" in shell.run("errors", "list").out
    shown = shell.run("errors", "show", id_, "--json").json
    assert (shown["effective"], len(shown["workers"]["confirmed"])) == (True, 2)
    told = shell.run("errors", "statement", id_, "--json").json
    assert (told["matched"], told["intercepted"]["queued"], told["balanced"]) == (2, 2, True)
    removed = shell.run("errors", "remove", id_)
    assert removed.status == 0
    assert removed.out.startswith(f"removed {id_}  550")
    unknown = shell.run("errors", "show", id_)
    assert (unknown.status, unknown.out, unknown.err.count("\n")) == (1, "", 1)
    assert unknown.err.startswith("floodgate: ")
    assert shell.run("errors", "list", "--tag", "hand", "--json").json == []


def test_queues_and_workers_are_arrays_for_programs_and_columns_for_people(shell: Shell):
    shell.node.send("a@list.test", ("list",), X_MQ_Delayed="+1h")
    (queue,) = shell.run("queues", "list", "--domain", "list.test", "--json").json
    assert (queue["pool"], queue["scheduled"]) == ("default", 1)
    lines = shell.run("queues", "list", "--domain", "list.test").out.splitlines()
    columns = "pool domain due scheduled claimed held parked oldest next due rate last reply why"
    assert lines[0].split() == columns.split()
    assert lines[1].split()[:7] == ["default", "list.test", "0", "1", "0", "0", "0"]
    workers = shell.run("workers", "--json").json
    assert sorted("+".join(w["roles"]) for w in workers) == ["smtp+delivery", "smtp+delivery", "sweeper"]
    assert {str(w["pid"]) for w in workers} <= set(shell.run("workers").out.split())


def test_tail_prints_the_lines_of_the_log_while_mail_flows(shell: Shell):
    process = shell.start("tail", "--tag", "tail", "--type", "Delivery", "--limit", "5", "--json")
    try:
        sent = 0
        while process.poll() is None:
            # More than five, one after the other: how soon the stream stands is not ours to know.
            shell.node.send(f"t{sent}@tail.test", ("tail",))
            sent += 1
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            assert sent < 500
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["type"], line["tags"]) for line in lines] == [("Delivery", ["tail"])] * 5
    until(lambda: {line["event"] for line in lines} <= {line["event"] for line in shell.node.events()})
    logged = {line["event"]: line for line in shell.node.events()}
    assert [logged[line["event"]] for line in lines] == lines


def test_an_order_that_is_not_effective_in_time_exits_3_and_names_who_is_missing(shell: Shell):
    worker = next(w for w in shell.run("workers", "--json").json if "delivery" in w["roles"])
    with standing_still(worker["pid"]):
        said = shell.run("errors", "add", "451", "--tag", "three", "--wait", "3s")
    assert said.status == 3
    assert f"not confirmed by {worker['name']}" in said.out
    assert "at the latest" in said.out


def test_the_exit_status_tells_a_refusal_from_bad_usage_and_from_an_api_that_is_away(shell: Shell, tmp_path: Path):
    assert shell.run("errors", "add", "550", "--colour", "red").status == 2
    refused = shell.run("errors", "add", "354", "--tag", "a", "--yes")
    assert (refused.status, refused.out, refused.err.count("\n")) == (1, "", 1)
    away = shell.run("workers", FLOODGATE_URL="http://127.0.0.1:9")
    assert (away.status, away.out, away.err.count("\n")) == (4, "", 1)
    token = (shell.node.folder / "admin.token").read_text().strip()
    nowhere = str(tmp_path)
    assert shell.run("workers", FLOODGATE_DATA_DIR=nowhere).status == 1
    assert shell.run("workers", FLOODGATE_DATA_DIR=nowhere, FLOODGATE_TOKEN=token).status == 0
    wrong = shell.run("workers", FLOODGATE_TOKEN="wrong")
    assert (wrong.status, wrong.err.count("\n")) == (1, 1)


def test_settings_are_checked_and_shown(shell: Shell, tmp_path: Path):
    file = tmp_path / "floodgate.toml"
    file.write_text("[rules]\nmax_staleness = '10s'\n[delivery]\nlease = '15s'\n")
    bad = shell.run("config", "check", "--config", str(file))
    assert bad.status == 1
    assert f"{file}: delivery.lease: must be at least 20s" in bad.err
    assert shell.run("config", "check", "--config", str(file), "--set", "delivery.lease=20s").status == 0
    shown = shell.run("config", "show", "--config", str(file), "--set", "delivery.lease=20s", "--json").json
    assert (shown["delivery"]["lease"], shown["rules"]["max_staleness"]) == ("20s", "10s")
