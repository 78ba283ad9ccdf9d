"""A recurring pause holds mail at its times, and lets it go at the end of each, whatever died at that moment."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.s15_pauses.conftest import WithPauses
from tests.support.node import until
from tests.support.node_and_sink import shared
from tests.support.sink import HOLD

SABOTAGE = Path(__file__).resolve().parents[2] / "support" / "sabotage"
BEFORE = timedelta(seconds=2)  # a process that dies then comes back at about the time itself
STEP = 29.0  # seconds: processes look at the clock once a second, and follow up to a minute at a look


class Recurring(WithPauses):
    """Its processes go by a clock that the test puts forward."""

    ahead = 0.0
    file: Path

    def now(self) -> datetime:
        return datetime.fromisoformat(self.call("GET", "/v1/tags?tag=clock")["as_of"])

    def put_forward(self, until_: datetime) -> None:
        """Every process follows within a second."""
        while (left := (until_ - self.now()).total_seconds()) > 0:
            before = self.now()
            step = min(STEP, left + 0.5)
            self.ahead += step
            (new := self.file.with_suffix(".new")).write_text(str(self.ahead))
            new.rename(self.file)
            until(lambda before=before, step=step: (self.now() - before).total_seconds() >= step)

    def kill(self, module: str) -> None:
        killed = self.node.child(module)
        os.kill(killed, signal.SIGKILL)

    def answers(self) -> bool:
        try:
            return self.node.call("GET", "/healthz")[0] == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recurring]:
    folder = tmp_path_factory.mktemp("s15r")
    place = Recurring(folder, embedded=True)
    place.file = folder / "clock"
    place.file.write_text("0")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(SABOTAGE))
        patched.setenv("FAKE_CLOCK", str(place.file))
        with shared(place):
            yield place


def nothing(_: Recurring) -> None:
    pass


def sweeper_dies(place: Recurring) -> None:
    place.kill("mta.runtime.sweeper")


def api_dies(place: Recurring) -> None:
    place.kill("control_api")
    until(place.answers)


@pytest.mark.parametrize("fault", [nothing, sweeper_dies, api_dies])
def test_mail_is_held_at_each_of_its_times_and_released_at_the_end(
    clocked: Recurring, fault: Callable[[Recurring], None]
) -> None:
    place, tag = clocked, fault.__name__
    domain = f"{tag.replace('_', '-')}.test"
    place.node.send([f"later{n}@{domain}" for n in range(5)], (tag,), X_MQ_Delayed="+1h")
    first = (place.now() + timedelta(seconds=70)).replace(second=0, microsecond=0)
    minutes = [first + timedelta(minutes=number) for number in range(4)]
    times = [f"{at.astimezone(UTC):%H:%M}" for at in minutes]
    pause = place.pause(tag=tag, schedule=f"{times[0]}-{times[1]}; {times[2]}-{times[3]}")
    assert pause["timezone"] == "UTC"
    assert pause["warnings"][-1].startswith(f"its schedule is off now; it holds mail from {first:%Y-%m-%dT%H:%M}:00")
    assert [known["id"] for known in place.call("GET", f"/v1/pauses?tag={tag}")] == [pause["id"]]
    place.node.send(f"before@{domain}", (tag,))
    place.rests(tag, delivered=1, queued=5, held=0)

    place.put_forward(minutes[0] - BEFORE)
    fault(place)
    place.held(pause, 5)
    place.node.send(f"during@{domain}", (tag,))
    place.held(pause, 6)
    place.rests(tag, delivered=1, queued=0, held=6)

    place.put_forward(minutes[1] - BEFORE)
    fault(place)
    place.rests(tag, delivered=2, queued=5, held=0)
    place.node.send(f"between@{domain}", (tag,))
    place.rests(tag, delivered=3, queued=5, held=0)

    place.put_forward(minutes[2] - BEFORE)
    fault(place)
    place.held(pause, 5)
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")
    place.rests(tag, delivered=3, queued=5, held=0)
    assert sorted(place.arrived(domain)) == [f"{name}@{domain}" for name in ("before", "between", "during")]
    until(lambda: len([line for line in place.log_of(tag) if line["type"] == "Release"]) == 11)
    kinds = [line["type"] for line in place.log_of(tag) if line.get("recipient") == f"later0@{domain}"]
    assert kinds == ["Reception", "Hold", "Release", "Hold", "Release"]


def test_a_transaction_that_has_begun_is_stopped_when_the_time_begins(clocked: Recurring) -> None:
    """No process is told of it: the last look before the dot goes by the clock."""
    place = clocked
    first = (place.now() + timedelta(seconds=70)).replace(second=0, microsecond=0)
    times = [f"{first + timedelta(minutes=number):%H:%M}" for number in range(2)]
    pause = place.pause(domain="begun.test", schedule=f"{times[0]}-{times[1]}", timezone="Etc/UTC")
    held: list[int] = []

    def stall(connection: int, _: str) -> Any:
        begun = [received for received in list(place.sink.sink.begun) if received.connection == connection]
        if begun and begun[-1].recipients[0].endswith("@begun.test"):
            held.append(connection)
            return HOLD
        return None

    place.sink.script("DATA", stall)
    try:
        place.node.send("a@begun.test", ("begun",))
        until(lambda: held)
        place.put_forward(first - timedelta(seconds=0.6))
        until(lambda: place.now() > first + timedelta(seconds=3))  # each process has followed by then
        place.sink.script("DATA", None)
        place.sink.release("354 go on")
        place.held(pause, 1)
        assert place.arrived("begun.test") == []
        place.put_forward(first + timedelta(minutes=1))
        place.rests("begun", delivered=1, held=0)
        assert place.arrived("begun.test") == ["a@begun.test"]
    finally:
        place.sink.script("DATA", None)
        place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")
