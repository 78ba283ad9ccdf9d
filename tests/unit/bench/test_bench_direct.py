import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.flow import Load
from bench.machine import file_system, is_real_disk
from bench.plan import Plan
from bench.processes import RunVoid, Sink
from bench.rig import stopping
from bench.scenario_run import direct_hop

ROOT = Path(__file__).parents[3]


def send(address: str, messages: int, sessions: int = 5) -> dict[str, object]:
    command = [sys.executable, "-m", "bench.source", "--target", address, "--messages", str(messages)]
    done = subprocess.run([*command, "--sessions", str(sessions)], capture_output=True, text=True, cwd=ROOT, timeout=90)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_message_has_the_size_asked_for_and_two_tags() -> None:
    content = Plan(10, [4096], 5).content(7)
    assert len(content) == 4096 + len(b".\r\n")
    assert content.endswith(b"\r\n.\r\n")
    assert content.count(b"\r\nX-MQ-Tag: ") == 2


def test_everything_that_was_accepted_is_received_once(tmp_path: Path) -> None:
    hop = direct_hop(Load(500, 4096, 8, 5, 2, []), tmp_path)
    assert (hop["messages"], hop["duplicates"], hop["connections"]) == (500, 0, 8)
    assert sum(hop["received_per_second"]) == 500


def test_the_sink_counts_a_number_that_comes_again_as_a_duplicate(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "sink.log")
    send(sink.address, 20)
    send(sink.address, 10)
    whole = sink.account()
    sink.stop()
    assert (whole["receipts"], whole["unique"], whole["duplicates"]) == (30, 20, 10)


def test_an_account_of_the_sink_begins_anew(tmp_path: Path) -> None:
    with stopping(Sink(tmp_path / "sink.log")) as sink:
        send(sink.address, 20)
        sink.account()
        send(sink.address, 7)
        whole = sink.account()
    assert (whole["receipts"], whole["unique"], whole["duplicates"]) == (7, 7, 0)


def test_a_deferred_message_is_tried_again_and_a_refused_one_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.sink", "--defer", "30", "--refuse", "30"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as sink:
        assert sink.stdin is not None
        assert sink.stdout is not None
        sent = send(json.loads(sink.stdout.readline())["listen"], 40)
        sink.stdin.close()
        whole = json.loads(sink.stdout.readline())
    assert (whole["refused"], whole["deferred"]) == (sent["failed"], sent["deferred"])
    assert whole["unique"] == sent["accepted"]
    assert whole["refused"] > 0
    assert whole["deferred"] > 0
    assert whole["refused"] + whole["unique"] == 40


def test_a_process_that_ends_early_voids_the_run_with_its_last_words(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "sink.log")
    sink.stop()
    (tmp_path / "sink.log").write_text("it broke\n")
    sink.answer("end", 5.0)
    with pytest.raises(RunVoid, match="it broke"):
        sink.answer("stats", 5.0)


def test_a_temporary_file_system_is_no_real_disk() -> None:
    assert file_system(Path("/dev/shm"))["type"] == "tmpfs"
    assert not is_real_disk(Path("/dev/shm"))
