"""Floodgate as one of the relays: an embedded node with everything on, and its books."""

import time
from pathlib import Path

import psutil

from bench.log_tail import LogTail
from bench.peers.case import DELAYED, tag_of
from bench.peers.relays import Running
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
        command = f"floodgate node --embedded --data-dir DIRECTORY --workers {self._workers}{settings}\n"
        return command + (f"(nothing else: the message has the header {DELAYED})\n" if held else "")

    def start(self, place: Path, route: str, held: bool) -> "RunningNode":
        node = Node(place / "data", self._workers, route, place / "log", self._settings)
        try:
            return RunningNode(node, held)
        except BaseException:
            node.stop()
            raise


class RunningNode(Running):
    """A node; its delivery log and its statement of the tag must agree with what arrived."""

    def __init__(self, node: Node, held: bool) -> None:
        self._node = node
        self.smtp = node.smtp
        self._log = LogTail(node.log, "Delivery")
        self._tag = tag_of(held)

    def family(self) -> list[psutil.Process]:
        return self._node.family()

    def check_delivered(self, accepted: int) -> None:
        deadline = time.monotonic() + _JOURNAL_WITHIN
        while (found := self._log.count()) != (accepted, accepted):
            if time.monotonic() > deadline:
                raise RunVoid(f"the delivery log has {found[0]} lines for {found[1]} deliveries, not {accepted}")
            time.sleep(0.1)
        self._check_statement(accepted=accepted, delivered=accepted, balanced=True)

    def check_held(self, accepted: int) -> None:
        self._check_statement(accepted=accepted, queued=accepted, balanced=True)

    def end(self) -> None:
        status = self._node.stop()
        if status != 0:
            raise RunVoid(f"the node ended with status {status} after SIGTERM")

    def stop(self) -> None:
        self._node.stop()

    def _check_statement(self, **wanted: int) -> None:
        statement = self._node.get(f"/v1/tags/{self._tag}")
        wrong = [f"{name} is {statement[name]}, not {wish}" for name, wish in wanted.items() if statement[name] != wish]
        if wrong:
            raise RunVoid(f"the statement of {self._tag} is wrong: {'; '.join(wrong)}")
