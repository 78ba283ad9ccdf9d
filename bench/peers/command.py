"""The command `peers`: Floodgate, other relays and the direct hop in turn, over the same load, and their ratios."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench import report
from bench.command import Command, data_root, opening, positive, result_options
from bench.machine import sync_latency
from bench.peers import page, programs
from bench.peers.case import CASES, Case
from bench.peers.exim import Exim
from bench.peers.floodgate import Floodgate
from bench.peers.haraka import Haraka
from bench.peers.measuring import Flow, direct, relayed
from bench.peers.postfix import Postfix
from bench.peers.relays import Relay
from bench.peers.targets import CEILING
from bench.peers.tools import OwnTools, PostfixTools, Tools
from bench.processes import RunVoid
from bench.progress import say
from bench.rig import directory

_PEERS = ("postfix", "haraka", "exim")
_TOOLS = ("postfix", "own")
_REPEAT = 3


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tools",
        choices=(*_TOOLS, "both"),
        default="postfix",
        help="load and destination: smtp-source and smtp-sink, the harness's own, or one after the other",
    )
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="only this; may be given again")
    parser.add_argument("--peer", action="append", choices=_PEERS, help="only this beside Floodgate; likewise")
    parser.add_argument("--seconds", type=float, default=8.0, help="that a measurement takes, about")
    parser.add_argument("--warm-up", type=positive, default=1000, metavar="N", help="messages sent before it")
    parser.add_argument("--sessions", type=positive, default=40, help="SMTP sessions of the source")
    parser.add_argument("--workers", type=positive, default=2, help="worker processes of the node")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the node")
    parser.add_argument(
        "--peers-dir",
        type=Path,
        default=Path.home() / ".cache" / "floodgate-bench",
        help="where programs that the system lacks are put; kept for the next time",
    )
    result_options(parser, "peers", _REPEAT)


def _main(given: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # daemons in sessions of their own are stopped then, too
    root = data_root(given.data_dir)
    try:
        postfix = programs.postfix(given.peers_dir, say)
    except programs.Missing as error:
        raise SystemExit(f"python -m bench peers: {error}") from None
    start = opening(given.name, root)
    relays, missing = _relays(given, postfix, start["machine"]["versions"].get("floodgate-mta", ""))
    legs: list[Tools] = [tools for tools in (PostfixTools(postfix), OwnTools()) if given.tools in (tools.name, "both")]
    cases = [case for name, case in CASES.items() if not given.case or name in given.case]
    flow = Flow(given.sessions, given.seconds, given.warm_up)
    runs: list[dict[str, Any]] = []
    for number in range(1, given.repeat + 1):
        for tools in legs:
            for case in cases:
                say(f"repetition {number} of {given.repeat}, {tools.name} tools, {case.about}")
                runs.append({"repetition": number, "tools": tools.name, "case": case.name})
                runs[-1] |= _round(relays, tools, case, flow, root)
    void = [f"{run['tools']} tools, {run['case']}, {reason}" for run in runs for reason in run["void"]]
    result = start | {
        "scenario": "peers",
        "options": {"sessions": given.sessions, "seconds": given.seconds, "warm_up": given.warm_up, "set": given.set},
        "tools": {tools.name: tools.about for tools in legs},
        "relays": {relay.name: page.facts(relay) for relay in relays},
        "missing": missing,
        "runs": runs,
        "void": void,
    }
    result["summary"] = page.summary(result)
    path = report.write(given.results, f"{result['date'][:10]}-{given.name}", result, page.as_page(result))
    for line in page.target_lines(result):
        say(line)
    say(str(path))
    if given.json:
        given.json.write_text(report.as_json(result))
    return 1 if void else 0


def _relays(given: argparse.Namespace, postfix: programs.Postfix, version: str) -> tuple[list[Relay], dict[str, str]]:
    """Those that can take part, Floodgate first, and why others cannot."""
    makers: dict[str, Callable[[], Relay]] = {
        "postfix": lambda: Postfix(postfix),
        "haraka": lambda: Haraka(programs.haraka(given.peers_dir, say)),
        "exim": lambda: Exim(programs.exim(given.peers_dir, say)),
    }
    relays: list[Relay] = [Floodgate(given.workers, given.set, version)]
    missing = {}
    for name in given.peer or _PEERS:
        try:
            relays.append(makers[name]())
        except programs.Missing as error:
            missing[name] = str(error)
            say(f"without {name}: {error}")
    return relays, missing


def _round(relays: list[Relay], tools: Tools, case: Case, flow: Flow, root: Path) -> dict[str, Any]:
    """The direct hop and each relay once, one after the other."""
    measured: dict[str, Any] = {}
    void = []
    for relay in (None, *relays):
        name = relay.name if relay else CEILING
        try:
            with directory(root) as place:
                place.chmod(0o711)  # relays that give up root's rights pass through
                if relay is None:
                    measured["fdatasync_ms"] = sync_latency(place)
                    figures = direct(tools, case, flow, place)
                else:
                    figures = relayed(relay, tools, case, flow, place)
        except RunVoid as error:
            void.append(f"{name}: {error}")
            say(f"VOID: {name}: {error}")
            continue
        measured[name] = msgspec.to_builtins(figures)
        cpu = f", {figures.cpu_us:,.0f} us of CPU each" if figures.cpu_us else ""
        say(f"{name}: {figures.rate:,.0f} messages/s ({figures.messages:,} in {figures.seconds:.1f} s{cpu})")
    return {"fdatasync_ms": measured.pop("fdatasync_ms", None), "measured": measured, "void": void}


COMMAND = Command(
    name="peers",
    about="Floodgate beside Postfix, Haraka and Exim, and the direct hop, in turn over the same load.",
    takes="30 minutes",
    options=_options,
    main=_main,
)
