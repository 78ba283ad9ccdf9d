"""The command `kept`: how much of the rate of an earlier commit this tree keeps, in short legs by turns."""

import argparse
import contextlib
import random
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import report
from bench.command import ROOT, Command, data_root, opening, place_options, positive
from bench.flow import Flow, Load
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say, say
from bench.rig import directory, end_well, stopping

_WARM_UP = 10_000  # messages; the rate of the base's is that of its legs
_RESAMPLES = 10_000
_TAIL = 0.05  # of the resampled medians on either side of the interval


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="COMMIT", help="the commit that this tree is compared with")
    parser.add_argument("--pairs", type=positive, default=10, help="legs of each build")
    parser.add_argument("--seconds", type=float, default=6.0, help="that a leg takes, about")
    parser.add_argument("--size", type=positive, default=4096, help="bytes of a message, headers included")
    parser.add_argument("--sessions", type=positive, default=40, help="SMTP sessions of the source")
    parser.add_argument("--domains", type=positive, default=5, help="recipient domains")
    parser.add_argument("--workers", type=positive, default=2, help="worker processes of each node")
    parser.add_argument("--reach", type=float, default=0.97, help="exit status 1 when the interval ends below it")
    place_options(parser, "kept")


def _main(given: argparse.Namespace) -> int:
    root = data_root(given.data_dir)
    load = Load(_WARM_UP, given.size, given.sessions, given.domains, given.workers, [])
    result = opening(given.name, root) | {"base": _commit(given.base), "load": msgspec.to_builtins(load)}
    try:
        with directory(root) as place, _checkout(result["base"], place / "base") as tree:
            result["pairs"] = _pairs(load, tree, place, given.pairs, given.seconds)
    except RunVoid as error:
        say(f"VOID: {error}")
        return 1
    result["rate"] = _interval([pair["here"]["rate"] / pair["base"]["rate"] for pair in result["pairs"]])
    result["cpu"] = _interval([pair["here"]["cpu_us"] / pair["base"]["cpu_us"] for pair in result["pairs"]])
    say(_sentence("rate", result["rate"]))
    say(_sentence("CPU a message", result["cpu"]))
    say(str(report.write(given.results, f"{result['date'][:10]}-{given.name}", result, _page(result))))
    if given.json:
        given.json.write_text(report.as_json(result))
    return 0 if result["rate"]["to"] >= given.reach else 1


def _commit(name: str) -> str:
    """Its full hash. Raises SystemExit."""
    found = subprocess.run(["git", "-C", str(ROOT), "rev-parse", f"{name}^{{commit}}"], capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"python -m bench kept: {name} is no commit of this clone: {found.stderr.strip()}")
    return found.stdout.strip()


@contextlib.contextmanager
def _checkout(commit: str, place: Path) -> Iterator[Path]:
    """The tree of that commit; it runs with the packages that are installed here."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(place), commit], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def _pairs(load: Load, tree: Path, place: Path, count: int, seconds: float) -> list[dict[str, Any]]:
    """`count` legs of each build on two nodes that stay, in the order A B, B A, A B, ... Raises RunVoid."""
    with contextlib.ExitStack() as stack:
        legs: dict[str, Callable[[Load], dict[str, Any]]] = {}
        nodes = []
        for name, source in (("base", tree), ("here", ROOT)):
            logs = place / f"{name}-logs"
            logs.mkdir()
            sink = stack.enter_context(stopping(Sink(logs / "sink.log")))
            errors = logs / "node.log"
            node = Node(place / f"{name}-data", load.workers, sink.address, errors, load.settings, source=source)
            nodes.append(stack.enter_context(stopping(node)))
            legs[name] = _legs_of(node, sink, logs)
            say(f"{name} is ready after {node.ready_after:.1f} s")
        warm = {name: leg(load) for name, leg in legs.items()}
        load = msgspec.structs.replace(load, messages=max(int(warm["base"]["rate"] * seconds), 1))
        pairs = []
        for number in range(1, count + 1):
            say(f"pair {number} of {count}: {load.messages:,} messages each")
            names = list(legs) if number % 2 else list(reversed(legs))
            pairs.append({name: legs[name](load) for name in names})
        for node in nodes:
            end_well(node)
    return pairs


def _legs_of(node: Node, sink: Sink, logs: Path) -> Callable[[Load], dict[str, Any]]:
    """A function that sends a load through the node: messages/s until the log has all of them, CPU of its processes."""

    def leg(load: Load) -> dict[str, Any]:
        quiet: Say = lambda text: None  # noqa: E731
        with Flow(node, sink, load, logs, quiet) as flow:
            found = flow.end()
        used = [use["cpu_seconds"] for role, use in found["processes"].items() if role not in ("source", "sink")]
        seconds = found["seconds"] + found["journal_caught_up_s"]
        return {
            "rate": round(found["messages"] / seconds, 1),
            "cpu_us": round(sum(used) / found["messages"] * 1e6, 1),
            "seconds": round(seconds, 2),
        }

    return leg


def _interval(ratios: Sequence[float]) -> dict[str, float]:
    """The median, and the 90 % interval of it: 10,000 resamples (percentile bootstrap, fixed seed)."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    at = int(_RESAMPLES * _TAIL)
    return {
        "median": round(statistics.median(ratios), 3),
        "from": round(medians[at], 3),
        "to": round(medians[-1 - at], 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


def _sentence(what: str, found: dict[str, float]) -> str:
    return (
        f"{what}, this tree by the base: {found['median']} (90 % interval of the median {found['from']} to "
        f"{found['to']}; pairs {found['least']} to {found['most']})"
    )


def _page(result: dict[str, Any]) -> str:
    load = result["load"]
    lines = [
        *report.heading(result),
        f"Base: commit `{result['base']}`.",
        "",
        f"- {_sentence('Rate', result['rate'])}.",
        f"- {_sentence('CPU a message', result['cpu'])}.",
        "",
        f"{len(result['pairs'])} pairs of legs by turns on two nodes that stay, {load['size']} bytes, "
        f"{load['sessions']} sessions, {load['domains']} domains, {load['workers']} workers each, default settings. "
        "A leg ends when the delivery log has all of it; the CPU is that of all processes of the node and its server.",
        "",
        "| pair | base, messages/s | here, messages/s | ratio | base, us | here, us |",
        "|---|---|---|---|---|---|",
    ]
    for number, pair in enumerate(result["pairs"], 1):
        base, here = pair["base"], pair["here"]
        rates = f"{base['rate']:,.0f} | {here['rate']:,.0f} | {here['rate'] / base['rate']:.3f}"
        lines.append(f"| {number} | {rates} | {base['cpu_us']} | {here['cpu_us']} |")
    return "\n".join([*lines, "", *report.machine_lines(result)]) + "\n"


COMMAND = Command(
    name="kept",
    about="This tree beside an earlier commit, in short legs by turns: rate and CPU a message, as ratios.",
    takes="3 minutes",
    options=_options,
    main=_main,
)
