"""The host's clock jumps: mail neither expires, nor is due early or late, and the jump is said (K14)."""

import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.s23_running.conftest import Place
from tests.scenarios.s23_running.test_stalls import SABOTAGE
from tests.support.node import Node, running, until

DAYS = 5 * 86400


@pytest.fixture
def wrong_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the wall clock of every process of the node wrong by so many seconds; other clocks stay right."""
    file = tmp_path / "clock"

    def set_clock(seconds: float) -> None:
        (tmp_path / "new").write_text(str(seconds))
        (tmp_path / "new").rename(file)

    set_clock(0)
    monkeypatch.setenv("PYTHONPATH", str(SABOTAGE))
    monkeypatch.setenv("FAKE_CLOCK", str(file))
    return set_clock


@pytest.fixture
def node(place: Place, wrong_by: Callable[[float], None]) -> Iterator[Node]:
    sets = {"delivery__route": place.sink.address, "delivery__retries": ["1s"], "rules__max_staleness": "1s"}
    with running(made := Node(place.folder / "clock", "clock", place.valkey.url, workers=1, **sets)):
        yield made


def of(node: Node, address: str) -> list[dict[str, object]]:
    return [event for event in node.events() if event.get("recipient") == address]


@pytest.mark.parametrize(("jump", "way"), [(DAYS, "forward"), (-DAYS, "back")])
def test_k14_mail_keeps_its_time_while_the_clock_jumps_days_away_and_back(
    place: Place, node: Node, wrong_by: Callable[[float], None], jump: float, way: str
) -> None:
    deferred, fresh, later, paused = (f"{name}-{way}@clock.test" for name in ("deferred", "fresh", "later", "paused"))
    place.sink.script("RCPT", lambda _, words: "451 4.3.0 not now" if deferred in words else None)
    assert node.call("POST", "/v1/pauses", {"tag": f"paused-{way}", "duration": "1h"})[0] in (201, 202)
    node.send(deferred)
    node.send(later, X_MQ_Delayed="+1h")
    node.send(paused, (f"paused-{way}",))
    until(lambda: len(of(node, deferred)) >= 2)

    wrong_by(jump)
    jumped = len(of(node, deferred))
    until(lambda: f"the clock of this host was set 5 days, 0:00:00 {way}; mail keeps the time" in node.errors())
    node.send(fresh)
    until(lambda: fresh in {r.recipients[0] for r in place.sink.to("clock.test")})
    until(lambda: len(of(node, deferred)) >= jumped + 3)
    back = {"forward": "back", "back": "forward"}[way]
    wrong_by(0)
    until(lambda: f"was set 5 days, 0:00:00 {back} and is right again" in node.errors())
    place.sink.script("RCPT", None)
    until(lambda: of(node, deferred)[-1]["type"] == "Delivery")

    assert {event["type"] for event in of(node, deferred)} == {"Reception", "TransientFailure", "Delivery"}
    now = time.time()
    for event in node.events():
        for key in ("time", "next_attempt", "accepted_at"):
            if key in event and not str(event.get("recipient", "")).startswith("later"):
                assert abs(seconds(str(event[key])) - now) < 3600, event
    arrived = {r.recipients[0] for r in place.sink.to("clock.test")}
    assert {later, paused} & arrived == set(), "due in an hour, and held for an hour"
    states = {address: node.call("GET", f"/v1/messages/{of(node, address)[0]['message_id']}")[1]["status"]
              for address in (later, paused)}  # fmt: skip
    assert states == {later: "DELAYED", paused: "HELD"}


def seconds(shown: str) -> float:
    return datetime.datetime.fromisoformat(shown).timestamp()


def test_k14_a_host_whose_clock_is_wrong_at_the_start_goes_by_the_stores(
    place: Place, wrong_by: Callable[[float], None]
) -> None:
    wrong_by(DAYS)
    sets = {"delivery__route": place.sink.address, "rules__max_staleness": "1s"}
    with running(node := Node(place.folder / "wrong", "wrong", place.valkey.url, workers=1, **sets)):
        until(lambda: "the clock of this host is 5 days, 0:00:00 ahead of that of the store" in node.errors())
        node.send("a@wrong.test")
        until(lambda: of(node, "a@wrong.test") and of(node, "a@wrong.test")[-1]["type"] == "Delivery")
        assert all(abs(seconds(str(event["time"])) - time.time()) < 3600 for event in of(node, "a@wrong.test"))
