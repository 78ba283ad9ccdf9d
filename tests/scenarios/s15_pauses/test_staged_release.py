"""A pause lets a part of its mail go: exactly so many, over lanes and killed processes, and the rest waits."""

import contextlib
import os
import re
import signal
from typing import Any

from tests.support.node import until
from tests.support.shell import Shell


def held(place: Any, tag: str, count: int) -> dict[str, Any]:
    """A pause of that tag that holds `count` deliveries to <tag>.test, in all lanes."""
    pause = place.pause(tag=tag)
    for first in range(0, count, 50):
        place.node.send([f"a{n}@{tag}.test" for n in range(first, min(first + 50, count))], (tag,))
    place.held(pause, count)
    return pause


def test_a_first_part_goes_and_the_rest_waits_until_it_is_ended(place: Any):
    pause = held(place, "stage", 300)
    path = f"/v1/pauses/{pause['id']}/release"
    assert "no release" in place.call("GET", path, want=(404,))["error"]["message"]
    done = place.call("POST", f"{path}?wait=50s", {"count": 40})
    assert (done["state"], done["released"], done["held"]) == ("done", 40, 260)
    until(lambda: len(place.arrived("stage.test")) == 40)
    done = place.call("POST", f"{path}?wait=50s", {"count": 7})
    assert (done["state"], done["released"], done["held"]) == ("done", 7, 253)
    until(lambda: len(place.arrived("stage.test")) == 47)
    statement = place.node.statement("stage")
    assert (statement["held"], statement["delivered"], statement["balanced"]) == (253, 47, True)

    place.call("POST", f"/v1/pauses/{pause['id']}/convert?wait=50s&until=swept", {"code": 554})
    until(lambda: sum(place.node.statement("stage")["intercepted"].values()) == 253)
    assert len(place.arrived("stage.test")) == 47
    assert place.call("GET", path, want=(404,))["error"]["type"] == "not_found"


def test_a_rate_lets_mail_go_until_it_is_stopped_and_the_pause_is_lifted(place: Any):
    pause = held(place, "rate", 120)
    path = f"/v1/pauses/{pause['id']}/release"
    given = place.call("POST", f"{path}?wait=0s", {"rate": "10/s"}, want=(202,))
    assert (given["state"], given["rate"]) == ("running", 10.0)
    assert "under way" in place.call("POST", path, {"count": 1}, want=(409,))["error"]["message"]
    until(lambda: len(place.arrived("rate.test")) >= 5)
    stopped = place.call("DELETE", path)
    assert stopped["state"] == "stopped"
    assert stopped["released"] < 120
    until(lambda: len(place.arrived("rate.test")) == stopped["released"])
    assert place.call("DELETE", path)["released"] == stopped["released"] == 120 - stopped["held"]
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")
    until(lambda: len(place.arrived("rate.test")) == 120)


def test_other_rules_decide_about_mail_that_a_pause_lets_go(place: Any):
    pause = held(place, "both", 60)
    other = place.pause(domain="both.test")
    path = f"/v1/pauses/{pause['id']}/release"
    # The other pause takes what the first one lets go: none of it is counted, and none goes.
    done = place.call("POST", f"{path}?wait=50s", {"count": 10})
    assert (done["state"], done["released"]) == ("done", 0)
    place.held(other, 60)
    assert not place.arrived("both.test")
    for one in (pause, other):
        place.call("DELETE", f"/v1/pauses/{one['id']}?wait=50s")
    until(lambda: len(place.arrived("both.test")) == 60)


def test_a_sweeper_that_dies_in_the_middle_lets_none_too_many_go(place: Any):
    pause = held(place, "dies", 600)
    path = f"/v1/pauses/{pause['id']}/release"
    given = place.call("POST", path + "?wait=0s", {"count": 500}, want=(200, 202))
    for _ in range(3):
        if given["state"] != "running":
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(place.node.child("mta.runtime.sweeper"), signal.SIGKILL)
        given = until(lambda: place.call("GET", path))
    done = until(lambda: (now := place.call("GET", path))["state"] == "done" and now)
    assert (done["released"], done["held"]) == (500, 100)
    until(lambda: len(place.arrived("dies.test")) == 500)
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")
    until(lambda: len(place.arrived("dies.test")) == 600)


def test_the_command_releases_a_part(place: Any):
    pause = held(place, "command", 20)
    said = Shell(place.node, place.sink).run(
        "pauses", "release", pause["id"], "--count", "5", "--wait", "15s", FLOODGATE_TOKEN=place.node.token
    )
    assert said.status == 0, said
    assert re.search(r"^released +5$", said.out, re.MULTILINE)
    until(lambda: len(place.arrived("command.test")) == 5)
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")


def test_bad_orders_name_the_field(place: Any):
    pause = place.pause(tag="bad")
    path = f"/v1/pauses/{pause['id']}/release"
    for body, field in (({}, "count"), ({"count": 1, "rate": "1/s"}, "count"), ({"count": 0}, "count"),
                        ({"count": True}, "count"), ({"rate": "fast"}, "rate"), ({"rate": "0/s"}, "rate"),
                        ({"number": 5}, "number")):  # fmt: skip
        error = place.call("POST", path, body, want=(400,))["error"]
        assert error["field"] == field, error
    place.call("PATCH", f"/v1/pauses/{pause['id']}?wait=50s", {"enabled": False})
    assert "holds no mail" in place.call("POST", path, {"count": 1}, want=(409,))["error"]["message"]
    place.call("DELETE", f"/v1/pauses/{pause['id']}")
    assert place.call("POST", path, {"count": 1}, want=(404,))["error"]["type"] == "not_found"
