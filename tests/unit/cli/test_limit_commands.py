"""The commands about limit orders and reactions."""

import json

from tests.support.commands import Floodgate


def test_a_limit_is_set_listed_and_removed(floodgate: Floodgate) -> None:
    given = ("--site", "big", "--ip", "192.0.2.1", "--messages-per-minute", "30", "--duration", "1h")
    done = floodgate("limits", "set", *given, "--json")
    assert done.exit_code == 0, done.output
    order = json.loads(done.stdout)
    (listed,) = json.loads(floodgate("limits", "list", "--json").stdout)
    assert listed == order
    assert "messages_per_minute 30" in floodgate("limits", "list").stdout
    assert floodgate("limits", "remove", order["id"]).exit_code == 0
    assert floodgate("limits", "remove", order["id"]).exit_code == 1


def test_a_limit_without_a_value_is_refused(floodgate: Floodgate) -> None:
    refused = floodgate("limits", "set", "--site", "big")
    assert refused.exit_code == 1
    assert "the order has no limit" in refused.stderr


def test_reactions_are_listed(floodgate: Floodgate) -> None:
    assert json.loads(floodgate("reactions", "list", "--json").stdout) == []
