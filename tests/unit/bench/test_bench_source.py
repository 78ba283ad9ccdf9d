import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.flow import Load, result_of, start_source
from bench.plan import WAITING_POOLS, WaitingPlan
from bench.processes import RunVoid, Sink
from bench.rig import stopping

ROOT = Path(__file__).parents[3]


def load(messages: int) -> Load:
    return Load(messages, 512, 4, 3, 2, [])


def lines_of(content: bytes, name: bytes) -> list[bytes]:
    return [line.partition(b": ")[2] for line in content.split(b"\r\n") if line.startswith(name + b": ")]


def test_mail_that_waits_has_many_recipients_and_each_only_once() -> None:
    plan = WaitingPlan(10, [512], 3, 100)
    found = [plan.envelope(number) for number in range(10)]
    recipients = [word for envelope in found for word in envelope.split(b"\r\n") if word.startswith(b"RCPT")]
    assert [envelope.count(b"\r\n") for envelope in found] == [plan.replies] * 10
    assert len(set(recipients)) == 1000
    assert len({word.rpartition(b"@")[2] for word in recipients}) == 3


def test_mail_that_waits_is_tagged_by_halves_and_shared_by_the_pools() -> None:
    plan = WaitingPlan(12, [512], 3, 100)
    contents = [plan.content(number) for number in range(12)]
    tags = Counter(tag for content in contents for tag in lines_of(content, b"X-MQ-Tag"))
    pools = Counter(pool for content in contents for pool in lines_of(content, b"X-MQ-Pool"))
    assert tags == {b"waiting": 12, b"waiting_half": 6, b"waiting_rest": 6}
    assert sorted(pools.values()) == [12 // WAITING_POOLS] * WAITING_POOLS
    assert {len(content) for content in contents} == {512 + len(b".\r\n")}


def test_a_source_of_waiting_mail_hands_over_every_recipient(tmp_path: Path) -> None:
    with stopping(Sink(tmp_path / "sink.log")) as sink:
        sent = result_of(start_source(load(20), sink.address, tmp_path, "--waiting", "50"))
        got = sink.account()
    assert (sent["accepted"], got["receipts"]) == (20, 1000)


def test_a_paced_source_takes_its_time(tmp_path: Path) -> None:
    with stopping(Sink(tmp_path / "sink.log")) as sink:
        sent = result_of(start_source(load(60), sink.address, tmp_path, "--rate", "100"))
        got = sink.account()
    assert got["unique"] == 60
    assert sent["seconds"] >= 59 / 100 - 0.1
    assert sent["rate"] < 130


def test_a_source_that_is_told_to_stop_accounts_for_what_it_began(tmp_path: Path) -> None:
    with stopping(Sink(tmp_path / "sink.log")) as sink:
        source = start_source(load(10**6), sink.address, tmp_path, "--rate", "200", "--until-told")
        deadline = time.monotonic() + 60
        while sink.stats()["unique"] < 10:
            assert time.monotonic() < deadline
        assert source.stdin is not None
        source.stdin.close()
        source.stdin = None
        source.wait(60)
        sent = result_of(source)
        got = sink.account()
    assert 10 <= sent["messages"] < 10**6
    assert sent["messages"] == sent["accepted"] == got["unique"]


def test_a_message_that_is_refused_voids_the_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.sink", "--refuse", "100"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as sink:
        assert sink.stdout is not None
        address = json.loads(sink.stdout.readline())["listen"]
        source = start_source(load(3), address, tmp_path)
        source.wait(60)
        with pytest.raises(RunVoid, match="3 messages were not accepted"):
            result_of(source)
        sink.communicate()
