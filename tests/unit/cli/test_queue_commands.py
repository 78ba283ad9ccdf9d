"""The commands about waiting mail: lists, and orders that go on in pages."""

import json

import pytest

from mta.cli import remote
from mta.model.ids import delivery_text
from mta.model.rules import Rule, Selectors
from tests.support.commands import Floodgate
from tests.support.control_api import Cluster, counts_of, parked_delivery, waiting_delivery


def test_waiting_mail_is_one_array_or_a_table(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.waiting = [waiting_delivery(number, attempts=1) for number in range(1500)]
    assert len(json.loads(floodgate("queues", "messages", "--all", "--json").stdout)) == 1500
    few = floodgate("queues", "messages", "--limit", "2", "--tag", "red")
    assert "m0@example.com" in few.stdout
    assert "m2@example.com" not in few.stdout
    assert few.stderr == "floodgate: the list is cut off; give --limit or --all for the rest\n"


def test_a_long_order_goes_on_to_its_end_and_says_how_far_it_is(floodgate: Floodgate) -> None:
    done = floodgate("queues", "retry", "--domain", "example.com")
    assert done.exit_code == 0, done.output
    assert done.stdout == "6 of 10 selected deliveries are due now\n"
    assert done.stderr == "3 due now, 5 looked at\n"


def test_a_move_says_what_stays(floodgate: Floodgate) -> None:
    done = floodgate("queues", "move", "--tag", "red", "--to-pool", "default")
    assert done.stdout.splitlines() == [
        "6 of 10 selected deliveries are moved to pool default",
        "4 stay where they are, because a rule ends or holds such mail; see: floodgate explain",
    ]
    sums = json.loads(floodgate("queues", "move", "--tag", "red", "--to-pool", "default", "--json").stdout)
    assert sums == {"moved": 6, "seen": 10, "kept": 4}


def test_an_order_about_all_mail_says_so(floodgate: Floodgate, cluster: Cluster) -> None:
    for words in (("retry",), ("move", "--to-pool", "default")):
        refused = floodgate("queues", *words)
        assert refused.exit_code == 2
        assert "--everything" in refused.stderr
    assert cluster.selections == []
    assert floodgate("queues", "retry", "--everything").exit_code == 0


def test_a_pool_that_nobody_serves_is_refused(floodgate: Floodgate) -> None:
    refused = floodgate("queues", "move", "--tag", "red", "--to-pool", "typo")
    assert refused.exit_code == 1
    assert "no node serves pool typo" in refused.stderr


def test_parked_mail_is_listed_and_released(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.parked = [parked_delivery(1), parked_delivery(2, record=None, raw=b"x")]
    assert "process after process died or gave up while it held the delivery" in floodgate("parked", "list").stdout
    assert len(json.loads(floodgate("parked", "list", "--json").stdout)) == 2
    done = floodgate("parked", "release", "--everything")
    assert done.stdout.splitlines() == [
        "1 released",
        "1 stay parked: their records cannot be read; only remove is left for them",
    ]


def test_a_removal_asks_and_shows_what_is_lost(
    floodgate: Floodgate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.parked = [parked_delivery(1), parked_delivery(2)]
    assert floodgate("parked", "remove", "--everything").exit_code == 2
    monkeypatch.setattr(remote, "is_terminal", lambda: True)
    declined = floodgate("parked", "remove", delivery_text(parked_delivery(1).id), answer="n\n")
    assert declined.exit_code == 1
    assert "Remove 1 parked deliveries?" in declined.stdout
    assert len(cluster.parked) == 2
    done = floodgate("parked", "remove", delivery_text(parked_delivery(1).id), "--yes")
    assert done.exit_code == 0, done.output
    assert "1 removed; 0 of them may have reached their recipients before" in done.stdout
    assert "m1@example.com" in done.stdout
    assert [delivery_text(one.id) for one in cluster.parked] == [delivery_text(parked_delivery(2).id)]


def test_an_order_about_parked_mail_names_it(floodgate: Floodgate) -> None:
    for words in (("release",), ("remove", "--yes")):
        assert floodgate("parked", *words).exit_code == 2


def test_o12_an_explanation_is_sentences_and_a_table(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.rules = {"r1": Rule("r1", Selectors(tag="red"), 554, "5.7.1", "canceled", generation=1)}
    cluster.rules["r2"] = Rule("r2", Selectors(tag="blue"), 450, generation=2)
    cluster.generation = 2
    cluster.queue_counts = [counts_of("default", "example.com")]
    words = ("explain", "--pool", "default", "--domain", "example.com", "--tag", "red")
    said = floodgate(*words)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert lines[0] == "Rule r1 decides: it ends with 554 5.7.1 canceled."
    assert lines[1] == "No limit is set for this pool and domain."
    assert lines[2].startswith("Its queue: 1 due, 2 later, 3 claimed, 0 held, the oldest for ")
    assert "it asks for tag blue" in said.stdout
    assert json.loads(floodgate(*words, "--json").stdout)["decides"] == "r1"
    assert "1 more rules do not match" in floodgate(*words, "--limit", "1").stderr


def test_o12_the_shape_of_a_queue_is_its_limits(floodgate: Floodgate, cluster: Cluster) -> None:
    said = floodgate("queues", "shape", "--domain", "example.com")
    assert said.exit_code == 0, said.output
    assert "no limit is set" in said.stdout
    assert "retries" in said.stdout
    assert json.loads(floodgate("queues", "shape", "--domain", "example.com", "--json").stdout)["limits"] == []
