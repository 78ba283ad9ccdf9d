"""The load source: keeps C SMTP sessions busy in a closed loop until N messages were accepted or given up.

`python -m bench.source --target HOST:PORT` prints one JSON object when it is done, and one with `"event": "stats"` on
SIGUSR1.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench.instants import write_instants
from bench.plan import DuePlan, Plan, WaitingPlan
from bench.sessions import Session, ShortSession
from bench.size_mix import size_mix
from bench.tally import Tally


async def run(
    targets: Sequence[tuple[str, int]],
    tally: Tally,
    sessions: int,
    session: type[Session] = Session,
    until_told: bool = False,
) -> None:
    """Sends what the tally gives out, session by session to the `targets` in turn; `until_told`: or what was begun when
    standard input ended."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: _say({"event": "stats"} | tally.counters()))
    if until_told:
        await loop.connect_read_pipe(lambda: _EndOfInput(tally), sys.stdin)
    for number in range(sessions):
        session(tally, targets[number % len(targets)]).start()
    await tally.done.wait()


class _EndOfInput(asyncio.Protocol):
    """Tells the tally to stop when nobody can write to us any more."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.stop()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _say(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.source", description="Send messages in a closed loop.")
    parser.add_argument("--target", required=True, metavar="HOST:PORT,...", help="of several the sessions take turns")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=4096, help="bytes of a message, headers included")
    parser.add_argument(
        "--sizes",
        type=size_mix,
        metavar="BYTES:SHARE,...",
        help="a mix of sizes instead of --size; every period of it has the shares exactly",
    )
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--domains", type=int, default=5)
    parser.add_argument("--recipients", type=int, default=1, help="of a message, all at one domain")
    parser.add_argument("--first", type=int, default=0, help="the number of the first message")
    parser.add_argument("--reconnect", action="store_true", help="a new connection for each message")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0 = as fast as they are answered")
    parser.add_argument("--until-told", action="store_true", help="stop before --messages when standard input ends")
    parser.add_argument(
        "--accepted-at",
        type=Path,
        metavar="FILE",
        help="write there when each message had its 250, in order: little-endian doubles of Unix time, 0.0 = never",
    )
    parser.add_argument(
        "--due-at", type=int, metavar="UNIXTIME", help="all messages are scheduled for that second (X-MQ-Delayed)"
    )
    parser.add_argument(
        "--waiting",
        type=int,
        metavar="RECIPIENTS",
        help="mail that waits for a week instead, of so many recipients a message, in three pools",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    given = _arguments(argv)
    sizes = given.sizes or [given.size]
    if given.waiting:
        plan: Plan = WaitingPlan(given.messages, sizes, given.domains, given.waiting)
    elif given.due_at:
        plan = DuePlan(given.messages, sizes, given.domains, given.recipients, given.due_at)
    else:
        plan = Plan(given.messages, sizes, given.domains, given.recipients, given.first)
    tally = Tally(plan, given.sessions, given.rate)
    session = ShortSession if given.reconnect else Session
    targets = [_address(target) for target in given.target.split(",")]
    uvloop.run(run(targets, tally, given.sessions, session, given.until_told))
    if given.accepted_at:
        write_instants(given.accepted_at, tally.accepted_at)
    result = tally.result()
    _say(result)
    return 0 if result["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
