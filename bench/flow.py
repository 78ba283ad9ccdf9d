"""A flow of mail: from the source through a node to the sink, and the checks without which its figures mean nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import msgspec
import psutil

from bench.log_tail import LogTail
from bench.plan import CAMPAIGN, CUSTOMERS, customer_of
from bench.processes import RunVoid, Sink
from bench.progress import Say
from bench.usage import server_version, spent, usage

_JOURNAL_WITHIN = 5.0
_NO_RECEIPT_FOR = 30.0
_ENDLESS = 10**8 - 1
_SOURCE_ENDS_WITHIN = 60.0
_SETTLE = 2.0


class Load(msgspec.Struct, frozen=True):
    """What mail is sent, through what, and to what kind of destination."""

    messages: int
    size: int
    sessions: int
    domains: int
    workers: int
    settings: list[str]
    recipients: int = 1  # of one message
    source: tuple[str, ...] = ()  # more options of `python -m bench.source`
    destination: tuple[str, ...] = ()  # options of `python -m bench.sink`


class Relay(Protocol):
    """A node, or several on one store."""

    smtp: str  # where the source sends
    logs: list[Path]  # delivery logs

    def get(self, path: str) -> Any:
        """The JSON of a path that must be there."""
        ...

    def family(self) -> list[psutil.Process]:
        """All processes but source and sink."""
        ...


class Mark(NamedTuple):
    """How much had been received at an instant of the monotonic clock."""

    at: float
    received: int

    def rate_until(self, later: "Mark") -> float:
        """Messages received per second between the two."""
        return round((later.received - self.received) / (later.at - self.at), 1)


def start_source(load: Load, target: str, logs: Path, *more: str) -> "subprocess.Popen[bytes]":
    """The source as a process of its own; `more` are options beside the load's."""
    command = [sys.executable, "-m", "bench.source", "--target", target, "--messages", str(load.messages)]
    command += ["--size", str(load.size), "--sessions", str(load.sessions), "--domains", str(load.domains)]
    command += [*load.source, *more]
    with (logs / "source.log").open("ab") as errors:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)


def result_of(source: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """What an ended source says. Raises RunVoid when a message was not accepted."""
    text = source.communicate()[0]
    if not text.strip():
        raise RunVoid(f"the source ended with status {source.returncode} and no result")
    sent: dict[str, Any] = json.loads(text)
    if sent["failed"]:
        raise RunVoid(f"{sent['failed']} messages were not accepted: {sent['replies']}")
    return sent


class Flow:
    """One source at work; leaving the context stops it. Several flows may follow one another through a node."""

    def __init__(
        self, node: Relay, sink: Sink, load: Load, logs: Path, say: Say, rate: float = 0.0, endless: bool = False
    ) -> None:
        """`rate`: messages a second, 0 = as fast as they are answered; `endless`: on and on until `end`."""
        self._node, self._sink, self._load, self._say = node, sink, load, say
        self._endless = endless
        sink.account()
        self._log = LogTail(node.logs, "Delivery")
        self._before = {tag: _delivered(node, tag) for tag in (CAMPAIGN, customer_of(0))}
        self._used = usage(node.family())
        more = ["--rate", str(rate)] if rate else []
        if endless:
            load = msgspec.structs.replace(load, messages=_ENDLESS)
            more.append("--until-told")
        self._source = start_source(load, node.smtp, logs, *more)

    def __enter__(self) -> "Flow":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source.poll() is None:
            self._source.kill()
            self._source.wait()

    def mark(self) -> Mark:
        if self._endless and self._source.poll() is not None:
            result_of(self._source)
            raise RunVoid("the source ended before it was told to")
        return Mark(time.monotonic(), int(self._sink.stats()["unique"]))

    def settle(self) -> None:
        """Returns when the flow has found its rate."""
        deadline = time.monotonic() + _NO_RECEIPT_FOR
        while self.mark().received == 0:
            if time.monotonic() > deadline:
                raise RunVoid(f"no receipt within {_NO_RECEIPT_FOR:.0f} s")
            time.sleep(0.05)
        time.sleep(_SETTLE)

    def window(self, seconds: float) -> float:
        """Messages received per second over the next `seconds`."""
        start = self.mark()
        time.sleep(seconds)
        return start.rate_until(self.mark())

    def end(self) -> dict[str, Any]:
        """The figures of the flow once all that was accepted has arrived, and all books agree. Raises RunVoid."""
        if self._endless:
            assert self._source.stdin is not None
            self._source.stdin.close()
            self._source.stdin = None
            try:
                self._source.wait(_SOURCE_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                raise RunVoid("the source did not end when it was told to") from None
        sent = self._watch()
        caught_up = self._journal_caught_up(sent["accepted"])
        processes = spent(self._used, usage(self._node.family()))
        got = self._sink.account()
        statement = self._statement(sent, got)
        hop = hop_of(sent, got)
        processes["source"] = {"cpu_seconds": round(sent["cpu_seconds"], 2)}
        processes["sink"] = {"cpu_seconds": round(got["cpu_seconds"], 2)}
        self._say(f"{hop['rate']:,.0f} messages/s, intake {hop['intake_rate']:,.0f}/s, journal +{caught_up:.2f} s")
        server = server_version(self._node.family())
        return hop | {
            "journal_caught_up_s": caught_up,
            "statement": statement,
            "processes": processes,
            "server": server,
        }

    def _watch(self) -> dict[str, Any]:
        """Waits for the source to end and for the sink to have all that was accepted; what the source says."""
        sent: dict[str, Any] | None = None
        last_count, last_moved, told = 0, time.monotonic(), time.monotonic()
        while True:
            if sent is None and self._source.poll() is not None:
                sent = result_of(self._source)
            got = self._sink.stats()
            now = time.monotonic()
            if got["unique"] != last_count:
                last_count, last_moved = got["unique"], now
            if sent is not None and got["unique"] >= sent["accepted"]:
                return sent
            if now - last_moved > _NO_RECEIPT_FOR:
                raise RunVoid(f"no receipt for {_NO_RECEIPT_FOR:.0f} s; {got['unique']} have arrived")
            if now - told > 2.0:
                told = now
                self._say(f"{got['unique']:,} received")
            time.sleep(0.1)

    def _journal_caught_up(self, accepted: int) -> float:
        """Seconds from the last receipt until the log has one Delivery line per delivery. Raises RunVoid after 5 s."""
        last = float(self._sink.stats()["last"])
        while True:
            lines, different = self._log.count()
            late = time.time() - last
            if lines == different == accepted:
                return round(max(late, 0.0), 2)
            if late > _JOURNAL_WITHIN or lines > accepted:
                raise RunVoid(
                    f"{late:.1f} s after the last receipt the delivery log has {lines} Delivery lines for {different} "
                    f"deliveries; {accepted} were accepted"
                )
            time.sleep(0.1)

    def _statement(self, sent: dict[str, Any], got: dict[str, Any]) -> dict[str, Any]:
        """The statement of the campaign's tag, where it equals the receipts. Raises RunVoid."""
        whole = self._node.get(f"/v1/tags/{CAMPAIGN}")
        share = self._node.get(f"/v1/tags/{customer_of(0)}")
        before = self._before[CAMPAIGN]
        expected = len(range(0, sent["messages"], CUSTOMERS))
        checks = (
            ("accepted", whole["accepted"] - before, sent["accepted"]),
            ("delivered", whole["delivered"] - before, got["unique"]),
            ("balanced", whole["balanced"], True),
            (f"delivered of {customer_of(0)}", share["delivered"] - self._before[customer_of(0)], expected),
        )
        wrong = [f"{what} is {found}, not {wanted}" for what, found, wanted in checks if found != wanted]
        if wrong:
            raise RunVoid(f"the statement of {CAMPAIGN} is wrong: {'; '.join(wrong)}")
        return dict(whole)


def calibrate(node: Relay, sink: Sink, load: Load, logs: Path, say: Say) -> dict[str, Any]:
    """A short flow as fast as it goes: what the same machine, node and load can do at most, now."""
    say(f"{load.messages:,} messages as fast as they go")
    with Flow(node, sink, load, logs, say) as flow:
        return flow.end()


def hop_of(sent: dict[str, Any], got: dict[str, Any]) -> dict[str, Any]:
    """The figures of what the source sent and the sink got."""
    seconds = got["last"] - sent["first_mail"]
    return {
        "messages": sent["accepted"],
        "seconds": round(seconds, 3),
        "rate": round(got["unique"] / seconds, 1),
        "intake_rate": round(sent["rate"], 1),
        "deferred_at_intake": sent["deferred"],
        "duplicates": got["duplicates"],
        "dot_to_reply_ms": sent["dot_to_reply_ms"],
        "handover_to_receipt_ms": got["handover_to_receipt_ms"],
        "received_per_second": got["per_second"],
        "connections": got["connections"],
        "source_us_per_message": round(sent["cpu_seconds"] / sent["accepted"] * 1e6, 1),
        "sink_us_per_message": round(got["cpu_seconds"] / got["unique"] * 1e6, 1),
    }


def _delivered(node: Relay, tag: str) -> int:
    return int(node.get(f"/v1/tags/{tag}")["delivered"])
