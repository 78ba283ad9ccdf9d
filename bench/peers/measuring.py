"""One measurement: a relay, or nothing, between source and destination, and the checks that its figures need."""

import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.peers.case import Case
from bench.peers.daemon import cpu_seconds
from bench.peers.relays import Relay, Running
from bench.peers.tools import Destination, Sent, Tools
from bench.processes import RunVoid

_NO_RECEIPT_FOR = 30.0
_LOOK_EVERY = 0.01
_NO_MORE_FOR = 0.5  # a receipt too many shows within this


class Flow(NamedTuple):
    """How hard: SMTP sessions of the source, seconds that a measurement should take, messages of its warm-up."""

    sessions: int
    seconds: float
    warm_up: int


class Measured(msgspec.Struct, frozen=True):
    """The figures of a measurement that counts."""

    messages: int
    seconds: float
    rate: float  # messages/s from the first connection to the last receipt; of held mail to the last 250
    intake_rate: float  # to the last 250
    cpu_us: float | None = None  # of the relay and what it started, per message


def direct(tools: Tools, case: Case, flow: Flow, place: Path) -> Measured:
    """Source to destination with nothing between: the ceiling. Raises RunVoid."""
    case = msgspec.structs.replace(case, held=False)  # nobody is there to hold it
    with tools.destination(place) as destination:
        return _twice(tools, case, flow, place, destination, None)


def relayed(relay: Relay, tools: Tools, case: Case, flow: Flow, place: Path) -> Measured:
    """Through a relay that was started on `place`, warmed up, and is stopped. Raises RunVoid."""
    inside = place / "relay"
    inside.mkdir()
    with (
        tools.destination(place) as destination,
        relay.start(inside, destination.address, case.held) as running,
    ):
        measured = _twice(tools, case, flow, place, destination, running)
        running.end()
    return measured


def _twice(
    tools: Tools, case: Case, flow: Flow, place: Path, destination: Destination, running: Running | None
) -> Measured:
    """A warm-up that finds the rate, and then what counts."""
    warm = _once(tools, case, flow.warm_up, flow, place, destination, running, 0)
    count = case.messages(warm.rate, flow.seconds, flow.warm_up)
    return _once(tools, case, count, flow, place, destination, running, flow.warm_up)


def _once(
    tools: Tools,
    case: Case,
    count: int,
    flow: Flow,
    place: Path,
    destination: Destination,
    running: Running | None,
    before: int,
) -> Measured:
    destination.begin()
    family = running.family() if running else []
    used = cpu_seconds(family)
    sent = tools.send(case, count, running.smtp if running else destination.address, flow.sessions, place)
    if sent.accepted != count:
        raise RunVoid(f"{sent.accepted} of {count} messages were accepted")
    last = sent.last if case.held else _last_receipt(destination, count)
    cpu_us = None
    if running:
        cpu_us = round((cpu_seconds(running.family()) - used) / count * 1e6, 1) if family else None
        check = running.check_held if case.held else running.check_delivered
        check(before + count)
    time.sleep(_NO_MORE_FOR)
    got, wanted = destination.receipts(), 0 if case.held else count
    if got.wrong or got.arrived != wanted:
        raise RunVoid(f"{got.arrived} messages arrived, not {wanted}; {got.wrong or 'nothing else'}")
    return _measured(sent, last, cpu_us)


def _last_receipt(destination: Destination, count: int) -> float:
    """When the destination had them all. Raises RunVoid."""
    seen, moved = -1, time.monotonic()
    while True:
        got = destination.receipts()
        if got.arrived >= count:
            return got.last
        if got.arrived != seen:
            seen, moved = got.arrived, time.monotonic()
        if time.monotonic() - moved > _NO_RECEIPT_FOR:
            raise RunVoid(f"no receipt for {_NO_RECEIPT_FOR:.0f} s; {seen} of {count} have arrived")
        time.sleep(_LOOK_EVERY)


def _measured(sent: Sent, last: float, cpu_us: float | None) -> Measured:
    seconds = last - sent.first
    return Measured(
        messages=sent.accepted,
        seconds=round(seconds, 3),
        rate=round(sent.accepted / seconds, 1),
        intake_rate=round(sent.accepted / (sent.last - sent.first), 1),
        cpu_us=cpu_us,
    )
