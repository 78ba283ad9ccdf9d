"""The commands about webhooks."""

import json

from tests.support.commands import Floodgate

URL = "https://hooks.example.com/"


def test_an_endpoint_is_added_listed_tested_and_removed(floodgate: Floodgate) -> None:
    done = floodgate("webhooks", "add", URL, "--tag", "red", "--when", "every", "--batch", "50")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("whsec_")
    assert "its secret is not shown again" in done.stderr
    (listed,) = json.loads(floodgate("webhooks", "list", "--json").stdout)
    assert (listed["url"], listed["tags"], listed["when"], listed["batch"]) == (URL, ["red"], "every", 50)
    assert "hooks.example.com" in floodgate("webhooks", "list").stdout
    assert floodgate("webhooks", "test", listed["id"]).stdout == "delivered: HTTP 200\n"
    assert floodgate("webhooks", "rotate", listed["id"]).stdout.startswith("whsec_")
    assert "waiting" in floodgate("webhooks", "enable", listed["id"]).stdout
    done = floodgate("webhooks", "replay", listed["id"], "--from", "2020-01-31T12:00:00Z")
    assert done.exit_code == 0, done.output
    done = floodgate("webhooks", "replay", listed["id"], "--from", "2020-01-31T12:00:00Z")
    assert done.exit_code == 1
    assert "a replay is under way" in done.stderr
    assert floodgate("webhooks", "remove", listed["id"]).stdout.startswith("removed wh_")
    assert floodgate("webhooks", "test", listed["id"]).exit_code == 1


def test_a_bad_endpoint_is_refused(floodgate: Floodgate) -> None:
    done = floodgate("webhooks", "add", "http://hooks.example.com/")
    assert done.exit_code == 1
    assert "webhooks.allow_networks" in done.stderr
    assert floodgate("webhooks", "add", URL, "--event", "message:deleted").exit_code == 2
