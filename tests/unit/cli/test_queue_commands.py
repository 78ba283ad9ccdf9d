"""The commands about waiting mail: lists, and orders that go on in pages."""

import json

from tests.support.commands import Floodgate
from tests.support.control_api import Cluster, waiting_delivery


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
        "4 stay where they are, because a rule ends or holds such mail",
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
