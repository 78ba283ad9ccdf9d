"""Floodgate as one of the relays: an embedded node with everything on, and its books."""

import time
from pathlib import Path

import psutil

from bench.log_tail import LogTail
from bench.peers.relays import Running
from bench.plan import CAMPAIGN
from bench.processes import Node, RunVoid

_JOURNAL_WITHIN = 5.0


class Floodgate:
    """Floodgate in the comparison."""

    name = "floodgate"
    durability = (
        "message, queues, counters and events are in the embedded server's append-only file, synced, before the 250; "
        "what was delivered is synced, too"
    )

    def __init__(self, workers: int, settings: list[str], version: str) -> None:
        self._workers, self._settings = workers, settings
        self.version = f"Floodgate {version}"

    def configured(self, held: bool) -> str:
        settings = "".join(f" --set {setting}" for setting in ["delivery.route=SINK:PORT", *self._settings])
        pause = f"\na pause of the tag {CAMPAIGN}, made over REST before the load" if held else ""
        return f"floodgate node --embedded --data-dir DIRECTORY --workers {self._workers}{settings}{pause}\n"

    def start(self, place: Path, route: str, held: bool) -> "RunningNode":
        node = Node(place / "data", self._workers, route, place / "log", self._settings)
        try:
            return RunningNode(node, held)
        except BaseException:
            node.stop()
            raise


class RunningNode(Running):
    """A node; its delivery log and the statement of the campaign must agree with what arrived."""

    def __init__(self, node: Node, held: bool) -> None:
        self._node = node
        self.smtp = node.smtp
        self._log = LogTail(node.log, "Hold" if held else "Delivery")
        if held:
            status, answer = node.call("POST", "/v1/pauses?wait=10s", {"tag": CAMPAIGN, "reason": "intake alone"})
            if status != 201:
                raise RunVoid(f"the pause was not made: {status} {answer}")

    def family(self) -> list[psutil.Process]:
        return self._node.family()

    def check_delivered(self, accepted: int) -> None:
        self._check(accepted, "delivered")

    def check_held(self, accepted: int) -> None:
        self._check(accepted, "held")

    def end(self) -> None:
        status = self._node.stop()
        if status != 0:
            raise RunVoid(f"the node ended with status {status} after SIGTERM")

    def stop(self) -> None:
        self._node.stop()

    def _check(self, accepted: int, state: str) -> None:
        deadline = time.monotonic() + _JOURNAL_WITHIN
        while (found := self._log.count()) != (accepted, accepted):
            if time.monotonic() > deadline:
                raise RunVoid(f"the delivery log has {found[0]} lines for {found[1]} deliveries, not {accepted}")
            time.sleep(0.1)
        statement = self._node.get(f"/v1/tags/{CAMPAIGN}")
        wanted = {"accepted": accepted, state: accepted, "balanced": True}
        wrong = [
            f"{name} is {statement[name]}, not {value}" for name, value in wanted.items() if statement[name] != value
        ]
        if wrong:
            raise RunVoid(f"the statement of {CAMPAIGN} is wrong: {'; '.join(wrong)}")
