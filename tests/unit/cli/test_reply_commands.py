"""The commands about reply entries."""

import json

from tests.support.commands import Floodgate

ENTRY = ("--category", "bad-mailbox", "--fault", "recipient", "--reaction", "bounce")


def test_an_entry_is_set_listed_and_removed(floodgate: Floodgate) -> None:
    done = floodgate("replies", "set", "moon", "--pattern", "moon is full", "--code", "55x", *ENTRY, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["category"] == "bad_mailbox"
    (listed,) = json.loads(floodgate("replies", "list", "--layer", "cluster", "--json").stdout)
    assert (listed["name"], listed["code"], listed["pattern"]) == ("moon", ["55x"], "moon is full")
    assert "moon is full" in floodgate("replies", "list").stdout
    assert floodgate("replies", "remove", "moon").exit_code == 0
    gone = floodgate("replies", "remove", "moon")
    assert gone.exit_code == 1
    assert "the cluster has no reply entry moon" in gone.stderr


def test_an_entry_that_fits_every_reply_is_refused(floodgate: Floodgate) -> None:
    refused = floodgate("replies", "set", "moon", *ENTRY)
    assert refused.exit_code == 1
    assert "pattern" in refused.stderr


def test_unknown_replies_are_listed(floodgate: Floodgate) -> None:
    assert json.loads(floodgate("replies", "unknown", "--json").stdout) == []
