"""Ratios, loads, configurations and the page of the comparison; and the direct hop for real."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.__main__ import arguments
from bench.peers import page, programs
from bench.peers.case import CASES, MOST_CONNECTIONS, Case, message
from bench.peers.daemon import Daemon, free_port
from bench.peers.haraka import files
from bench.peers.measuring import Flow, direct
from bench.peers.postfix import main_cf
from bench.peers.relays import FileQueue
from bench.peers.targets import Target, ratios, spread, verdict
from bench.peers.tools import OwnTools, PostfixTools, Receipts, Sent
from bench.processes import RunVoid
from tests.support.needs import needs


def test_a_ratio_is_made_within_a_repetition() -> None:
    """A machine that is half as fast for a while disturbs neither ratio."""
    rounds = [{"floodgate": 1000.0, "postfix": 200.0}, {"floodgate": 500.0, "postfix": 100.0}]
    assert ratios(rounds, "floodgate", "postfix") == [5.0, 5.0]


def test_a_void_measurement_takes_its_pair_with_it() -> None:
    rounds = [{"floodgate": 1000.0}, {"postfix": 100.0}, {"floodgate": 600.0, "postfix": 100.0}]
    assert spread(ratios(rounds, "floodgate", "postfix")) == {"median": 6.0, "least": 6.0, "most": 6.0, "count": 1}
    assert spread([]) == {}


@pytest.mark.parametrize(
    ("median", "goal", "said"),
    [
        (4.99, 6.0, "not reached"),
        (5.0, 6.0, "reached, not the goal"),
        (6.0, 6.0, "reached, and the goal"),
        (5.0, None, "reached"),
    ],
)
def test_a_target_is_judged_by_the_median(median: float, goal: float | None, said: str) -> None:
    assert verdict(Target("4k", "postfix", 5.0, goal), {"median": median}) == said
    assert verdict(Target("4k", "postfix", 5.0, goal), {}) == ""


def test_a_measurement_is_as_long_as_asked_within_bounds() -> None:
    assert CASES["4k"].messages(900.0, 8.0, 1000) == 7200
    assert CASES["4k"].messages(10.0, 8.0, 1000) == 1000
    assert CASES["connect"].messages(7000.0, 8.0, 1000) == MOST_CONNECTIONS


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_message_has_the_size_once_its_lines_end_as_in_smtp(case: Case) -> None:
    text = message(case)
    assert case.size - 1 <= len(text.replace("\n", "\r\n")) <= case.size
    assert text.count("X-MQ-Tag: ") == 2
    assert ("X-MQ-Delayed" in text) == case.held


def test_postfix_relays_everything_and_touches_only_its_own_place() -> None:
    found = programs.Postfix(Path("/p/sbin"), Path("/p/daemons"), "", "postfix", "postdrop")
    text = main_cf(found, Path("/scratch"), "127.0.0.1:2525", held=False)
    assert "relayhost = [127.0.0.1]:2525\n" in text
    assert "queue_directory = /scratch/queue\n" in text
    assert "data_directory = /scratch/state\n" in text
    assert "HOLD" not in text
    assert "static:HOLD" in main_cf(found, Path("/scratch"), "127.0.0.1:2525", held=True)


def test_haraka_sends_everything_to_the_sink_or_keeps_it() -> None:
    relaying, holding = files("127.0.0.1:2525", 25, held=False), files("127.0.0.1:2525", 25, held=True)
    assert "exchange: '127.0.0.1', port: 2525" in relaying["plugins/to_sink.js"]
    assert "disabled=false" in relaying["config/outbound.ini"]
    assert "disabled=true" in holding["config/outbound.ini"]
    assert "nodes=2" in relaying["config/smtp.ini"]


def test_what_a_relay_holds_is_counted(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "1").touch()
    nobody: Any = SimpleNamespace(smtp="")
    queue = FileQueue(nobody, tmp_path)
    queue.check_held(1)
    with pytest.raises(RunVoid, match="1 messages are held, not 2"):
        queue.check_held(2)


def test_a_daemon_that_ends_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunVoid, match="status 3; its log ends: no such luck"):
        Daemon(["/bin/sh", "-c", "echo no such luck; exit 3"], free_port(), tmp_path / "log")


class _Faulty:
    """Tools whose destination gets `more` messages than were sent, and notes `wrong`."""

    name = about = "faulty"
    address = "nowhere"
    arrived = 0

    def __init__(self, more: int, wrong: str) -> None:
        self.more, self.wrong = more, wrong

    def destination(self, place: Path) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self) -> None:
        self.arrived = 0

    def receipts(self) -> Receipts:
        return Receipts(self.arrived, 2.0, self.wrong)

    def send(self, case: Any, count: int, target: str, sessions: int, place: Path) -> Sent:
        self.arrived = count + self.more
        return Sent(count, 1.0, 1.5)


@pytest.mark.parametrize(
    ("more", "wrong", "said"),
    [(1, "", "11 messages arrived, not 10; nothing else"), (0, "1 duplicates", "10 messages .* 1 duplicates")],
)
def test_a_receipt_too_many_voids_a_measurement(more: int, wrong: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RunVoid, match=said):
        direct(_Faulty(more, wrong), CASES["4k"], Flow(1, 0.1, 10), tmp_path)


def _result() -> dict[str, Any]:
    figures = {"messages": 10, "seconds": 1.0, "intake_rate": 10.0, "cpu_us": 100.0}
    rates = {"direct": 1000.0, "floodgate": 400.0, "postfix": 50.0}
    untold = figures | {"rate": 20.0, "cpu_us": None}
    relay = {"version": "X 1", "durability": "none", "configured": "a\nb", "configured_to_hold": "a\nhold"}
    run = {
        "repetition": 1,
        "tools": "postfix",
        "case": "4k",
        "measured": {name: figures | {"rate": rate} for name, rate in rates.items()} | {"exim": untold},
        "fdatasync_ms": {"p50": 1.0},
        "void": ["haraka: lost"],
    }
    facts = {"cores": 2, "processor": "p", "memory_gib": 1, "kernel": "k", "python": "3", "versions": {}}
    return {
        "name": "peers",
        "date": "2030-01-01T00:00:00Z",
        "commit": {},
        "machine": facts,
        "options": {"sessions": 40, "seconds": 8.0, "warm_up": 1000, "set": []},
        "tools": {"postfix": "as it is"},
        "relays": {"floodgate": relay, "postfix": relay, "exim": relay},
        "missing": {"haraka": "no node"},
        "runs": [run],
        "void": ["haraka: lost"],
    }


def test_the_page_says_which_targets_were_reached() -> None:
    result = _result()
    result["summary"] = page.summary(result)
    text = page.as_page(result)
    assert "| postfix, end to end, 4 KB | 8.0 (8.0 to 8.0) | 5 | 6 | reached, and the goal |" in text
    assert "| the direct hop, end to end, 4 KB | 0.4 (0.4 to 0.4) | 0.33 | 0.4 | reached, and the goal |" in text
    assert "50 KB" not in text.partition("## The relays")[0].partition("## With")[2], (
        "a peer that was not measured has no line"
    )
    assert "| exim | 20.0 (20.0 to 20.0) | 20.0 (20.0 to 20.0) | 10.0 (10.0 to 10.0) |  | 20 |" in text
    assert "- Without haraka: no node" in text
    assert "Void: haraka: lost" in text
    assert "```\nhold\n```" in text
    assert page.target_lines(result)[0].endswith("required 5.0: reached, and the goal")


def test_the_command_has_its_options() -> None:
    given = arguments(["peers", "--tools", "both", "--case", "4k", "--peer", "postfix"])
    assert (given.tools, given.case, given.peer, given.repeat) == ("both", ["4k"], ["postfix"], 3)


@needs("smtp-sink")
@pytest.mark.parametrize("own", [False, True])
def test_the_direct_hop_counts_what_arrives(own: bool, tmp_path: Path) -> None:
    tools = OwnTools() if own else PostfixTools(programs.postfix(tmp_path, print))
    figures = direct(tools, CASES["4k"], Flow(4, 0.1, 50), tmp_path)
    assert figures.messages >= 50
    assert figures.rate * figures.seconds == pytest.approx(figures.messages, rel=0.1)
    assert figures.cpu_us is None
