"""A flow of mail: from the source through a node to the sink, and the checks without which its figures mean nothing."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
import psutil

from bench.books import Books, Relay
from bench.instants import between, per_second, read_instants
from bench.processes import RunVoid, Sink
from bench.progress import Say
from bench.ranks import percentiles
from bench.usage import server_version, spent, usage

_STILL_FOR = 30.0
_ENDLESS = 10**8 - 1
_SOURCE_ENDS_WITHIN = 60.0
_SETTLE = 2.0
_TELL_EVERY = 2.0
_numbers = itertools.count(1)


class Load(msgspec.Struct, frozen=True):
    """The mail that is sent, the node that relays it, and the kind of destination."""

    messages: int
    size: int
    sessions: int
    domains: int
    workers: int
    settings: list[str]
    recipients: int = 1  # of one message
    sizes: str = ""  # a mix, as `python -m bench.source` takes it; `size` is then the mean
    source: tuple[str, ...] = ()  # more options of `python -m bench.source`
    destination: tuple[str, ...] = ()  # options of `python -m bench.sink`
    patience: float = 0.0  # seconds that the destination may take for a reply on purpose


class Mark(NamedTuple):
    """How much had been received at an instant of the monotonic clock."""

    at: float
    received: int

    def rate_until(self, later: "Mark") -> float:
        """Messages received per second between the two."""
        return round((later.received - self.received) / (later.at - self.at), 1)


class _Patience:
    """Tells how far something is, and gives up when it stands still."""

    def __init__(self, say: Say, what: str) -> None:
        self._say, self._what = say, what
        self._count = 0
        self._moved = self._told = time.monotonic()

    def look(self, count: int, going: bool = False) -> None:
        """`going`: other things go on. Raises RunVoid."""
        now = time.monotonic()
        if going or count != self._count:
            self._count, self._moved = count, now
        if now - self._moved > _STILL_FOR:
            raise RunVoid(f"for {_STILL_FOR:.0f} s nothing more was {self._what}; {count} were")
        if now - self._told > _TELL_EVERY:
            self._told = now
            self._say(f"{count:,} {self._what}")


def start_source(load: Load, target: str, logs: Path, *more: str) -> "subprocess.Popen[bytes]":
    """The source as a process of its own; `more` are options beside the load's."""
    command = [sys.executable, "-m", "bench.source", "--target", target, "--messages", str(load.messages)]
    command += ["--sizes", load.sizes] if load.sizes else ["--size", str(load.size)]
    command += ["--sessions", str(load.sessions), "--domains", str(load.domains)]
    command += ["--recipients", str(load.recipients), *load.source, *more]
    with (logs / "source.log").open("ab") as errors:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)


def result_of(source: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The result of a source that has ended. Raises RunVoid when a message was not accepted."""
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
        self._canceled = False
        self._sent: dict[str, Any] | None = None
        sink.account()
        self._books = Books(node, load.recipients, load.patience)
        self._used = usage(node.family())
        number = next(_numbers)
        self._accepted_at, self._received_at = logs / f"accepted-{number}", logs / f"received-{number}"
        more = ["--rate", str(rate)] if rate else []
        if endless:
            load = msgspec.structs.replace(load, messages=_ENDLESS)
            more.append("--until-told")
        more += ["--accepted-at", str(self._accepted_at)]
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
        return Mark(time.monotonic(), self.received())

    def received(self) -> int:
        """Deliveries that the sink has received so far."""
        return int(self._sink.stats()["unique"])

    def settle(self) -> None:
        """Returns when the flow has found its rate."""
        self.until_received(1)
        time.sleep(_SETTLE)

    def until_received(self, receipts: int) -> None:
        """Returns when the sink has so many. Raises RunVoid when none comes any more."""
        patience, count = _Patience(self._say, "received"), 0
        while count < receipts:
            time.sleep(0.02)
            count = self.received()
            patience.look(count)

    def window(self, seconds: float) -> float:
        """Messages received per second over the next `seconds`."""
        start = self.mark()
        time.sleep(seconds)
        return start.rate_until(self.mark())

    def canceled(self) -> None:
        """From now on mail is intercepted, too: accepted mail need not arrive."""
        self._canceled = True

    def sent(self) -> dict[str, Any]:
        """The result of the source once all of its mail was accepted. Raises RunVoid."""
        patience = _Patience(self._say, "accepted")
        while self._source.poll() is None:
            time.sleep(0.1)
            patience.look(self._books.told().accepted)
        self._sent = result_of(self._source)
        return self._sent

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
        sent, received = self._watch()
        accepted = sent["accepted"] * self._load.recipients
        intercepted = accepted - received if self._canceled else None
        last = time.time() if self._canceled else float(self._sink.stats()["last"])
        caught_up = self._books.journal_caught_up(received, intercepted, last)
        processes = spent(self._used, usage(self._node.family()))
        processes["source"] = {"cpu_seconds": round(sent["cpu_seconds"], 2), "peak_rss_mib": sent["peak_rss_mib"]}
        peak = usage([psutil.Process(self._sink.process.pid)]).popitem()[1]["peak_rss_mib"]
        got = self._sink.account(self._received_at)
        processes["sink"] = {"cpu_seconds": round(got["cpu_seconds"], 2), "peak_rss_mib": peak}
        statement = self._books.statement(sent, received, bool(intercepted))
        hop = hop_of(sent, got, self._load.recipients)
        self._say(f"{hop['rate']:,.0f} messages/s, intake {hop['intake_rate']:,.0f}/s, journal +{caught_up:.2f} s")
        return (
            hop
            | self._times(sent)
            | {
                "journal_caught_up_s": caught_up,
                "statement": statement,
                "intercepted": intercepted or 0,
                "processes": processes,
                "server": server_version(self._node.family()),
            }
        )

    def receipts(self) -> Sequence[float]:
        """When each message was received, Unix time by number, 0.0 = never; after `end`."""
        return read_instants(self._received_at)

    def _times(self, sent: dict[str, Any]) -> dict[str, Any]:
        """From acceptance to delivery, and both over time."""
        accepted, received = read_instants(self._accepted_at), self.receipts()
        return {
            "accepted_to_delivered_ms": percentiles(between(accepted, received), 1000.0),
            "over_time": {
                "intake": per_second(accepted, sent["first_mail"]),
                "received": per_second(received, sent["first_mail"]),
            },
        }

    def _watch(self) -> tuple[dict[str, Any], int]:
        """The result of the source and the number of receipts, once every accepted delivery has ended."""
        sent, patience = self._sent, _Patience(self._say, "received")
        while True:
            if sent is None and self._source.poll() is not None:
                sent = result_of(self._source)
            count = self.received()
            if sent is not None:
                ended = self._books.told().ended if self._canceled else count
                if ended >= sent["accepted"] * self._load.recipients:
                    return sent, self.received()
            patience.look(count, going=sent is None and self._canceled)
            time.sleep(0.1)


def calibrate(node: Relay, sink: Sink, load: Load, logs: Path, say: Say) -> dict[str, Any]:
    """A short flow as fast as it goes: what the same machine, node and load can do at most, now."""
    say(f"{load.messages:,} messages as fast as they go")
    with Flow(node, sink, load, logs, say) as flow:
        return flow.end()


def hop_of(sent: dict[str, Any], got: dict[str, Any], recipients: int = 1) -> dict[str, Any]:
    """The figures of what the source sent, with so many recipients a message, and the sink got."""
    seconds = got["last"] - sent["first_mail"]
    messages = got["unique"] / recipients
    return {
        "messages": sent["accepted"],
        "recipients": recipients,
        "first_mail": sent["first_mail"],
        "last_receipt": got["last"],
        "seconds": round(seconds, 3),
        "rate": round(messages / seconds, 1),
        "intake_rate": round(sent["rate"], 1),
        "deferred_at_intake": sent["deferred"],
        "deferred_at_sink": got["deferred"],
        "stalled_at_sink": got["stalled"],
        "secured_connections": got["secured"],
        "duplicates": got["duplicates"],
        "dot_to_reply_ms": sent["dot_to_reply_ms"],
        "handover_to_receipt_ms": got["handover_to_receipt_ms"],
        "received_per_second": got["per_second"],
        "connections": got["connections"],
        "source_us_per_message": round(sent["cpu_seconds"] / sent["accepted"] * 1e6, 1),
        "sink_us_per_message": round(got["cpu_seconds"] / messages * 1e6, 1),
    }
