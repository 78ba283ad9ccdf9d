"""The commands about brakes."""

import json

from tests.support.commands import Floodgate

TERMS = ("--ratio", "5%", "--min", "1000", "--window", "10m")


def test_a_brake_is_added_listed_shown_and_removed(floodgate: Floodgate) -> None:
    done = floodgate("brakes", "add", "--tag", "red", *TERMS, "--for", "2h", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert (made["selectors"], made["ratio"], made["action"], made["for"]) == ({"tag": "red"}, 0.05, "pause", 7200.0)
    (listed,) = json.loads(floodgate("brakes", "list", "--json").stdout)
    assert listed["id"] == made["id"]
    assert "tag=red" in floodgate("brakes", "list").stdout
    shown = floodgate("brakes", "show", made["id"]).stdout
    assert "0 of 0" in shown
    assert "10m" in shown
    assert floodgate("brakes", "remove", made["id"]).exit_code == 0
    gone = floodgate("brakes", "show", made["id"])
    assert gone.exit_code == 1
    assert "there is no brake with this id" in gone.stderr


def test_a_brake_may_make_a_forced_error(floodgate: Floodgate) -> None:
    terms = ("--code", "554", "--extended", "5.7.1", "--reason", "see the wiki")
    done = floodgate("brakes", "add", "--each", "tag", *TERMS, *terms, "--metric", "block", "--json")
    assert json.loads(done.stdout)["action"] == {"code": 554, "extended": "5.7.1", "reason": "see the wiki"}
    assert "554 5.7.1" in floodgate("brakes", "list").stdout


def test_what_cannot_be_is_refused(floodgate: Floodgate) -> None:
    refused = floodgate("brakes", "add", "--tag", "red", *TERMS, "--extended", "5.7.1")
    assert refused.exit_code == 2
    assert "--extended belongs to a forced error; give --code" in refused.stderr
    refused = floodgate("brakes", "add", "--tag", "red", "--ratio", "much", "--min", "5", "--window", "10m")
    assert refused.exit_code == 2
    assert 'write "5%" or 0.05' in refused.stderr
    refused = floodgate("brakes", "add", *TERMS)
    assert refused.exit_code == 1
    assert "selectors.tag" in refused.stderr
