"""The command `kept`: how much of the rate of an earlier commit this tree keeps, in short legs by turns.

The same node takes up to a tenth more or less CPU a message each time it is started, and longer stretches of a shared
machine differ as much. So legs alternate, both nodes are started anew every few pairs, and the interval is that of
starts: pairs of one start are no independent measurements.
"""

import argparse
import contextlib
import datetime
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import report
from bench.command import ROOT, Command, data_root, opening, place_options, positive
from bench.flow import Flow, Load
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say, say
from bench.rig import directory, end_well, stopping
from bench.usage import spent, usage

_WARM_UP = 10_000  # messages, on each start; the rate of the base's first is that of its legs
_RESAMPLES = 10_000
_TAIL = 0.05  # of the resampled medians on either side of the interval
_OK = 200
_HISTORY_WITHIN, _BETWEEN_LOOKS = 30.0, 0.1  # seconds

_Leg = Callable[[Load], dict[str, Any]]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="COMMIT", help="the commit that this tree is compared with")
    parser.add_argument("--pairs", type=positive, default=10, help="legs of each build")
    parser.add_argument("--pairs-of-a-start", type=positive, default=2, help="before both nodes are started anew")
    parser.add_argument("--seconds", type=float, default=6.0, help="that a leg takes, about")
    parser.add_argument("--size", type=positive, default=4096, help="bytes of a message, headers included")
    parser.add_argument("--sessions", type=positive, default=40, help="SMTP sessions of the source")
    parser.add_argument("--domains", type=positive, default=5, help="recipient domains")
    parser.add_argument("--workers", type=positive, default=2, help="worker processes of each node")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of this tree's node")
    parser.add_argument("--reach", type=float, default=0.97, help="exit status 1: the rate's interval ends below it")
    parser.add_argument("--cpu-reach", type=float, default=1.03, help="exit status 1: the CPU's begins above it")
    place_options(parser, "kept")


def _main(given: argparse.Namespace) -> int:
    root = data_root(given.data_dir)
    load = Load(_WARM_UP, given.size, given.sessions, given.domains, given.workers, given.set)
    result = opening(given.name, root) | {"base": _commit(given.base), "load": msgspec.to_builtins(load)}
    try:
        with directory(root) as place, _checkout(result["base"], place / "base") as tree:
            result["pairs"] = _pairs(load, tree, place, given.pairs, given.pairs_of_a_start, given.seconds)
    except RunVoid as error:
        say(f"VOID: {error}")
        return 1
    result["rate"] = _interval(_by_start(result["pairs"], "rate"))
    result["cpu"] = _interval(_by_start(result["pairs"], "cpu_us"))
    say(_sentence("rate", result["rate"]))
    say(_sentence("CPU a message", result["cpu"]))
    say(str(report.write(given.results, f"{result['date'][:10]}-{given.name}", result, _page(result))))
    if given.json:
        given.json.write_text(report.as_json(result))
    return 0 if result["rate"]["to"] >= given.reach and result["cpu"]["from"] <= given.cpu_reach else 1


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


def _pairs(load: Load, tree: Path, place: Path, count: int, of_a_start: int, seconds: float) -> list[dict[str, Any]]:
    """`count` legs of each build, in the order A B, B A, A B, ...; both nodes are started anew after `of_a_start` of
    them, in alternating order, too. Raises RunVoid."""
    builds = {"base": tree, "here": ROOT}
    pairs: list[dict[str, Any]] = []
    sized: Load | None = None
    while len(pairs) < count:
        start = len(pairs) // of_a_start + 1
        with _nodes(load, _turned(builds, start), place / f"start-{start}") as legs:
            warm = {name: leg(load) for name, leg in legs.items()}
            if sized is None:
                sized = msgspec.structs.replace(load, messages=max(int(warm["base"]["rate"] * seconds), 1))
            for number in range(len(pairs) + 1, min(len(pairs) + of_a_start, count) + 1):
                say(f"pair {number} of {count}: {sized.messages:,} messages each")
                pair = {name: legs[name](sized) for name in _turned(builds, number)}
                pairs.append({"start": start} | pair)
    return pairs


def _turned(builds: Mapping[str, Path], number: int) -> dict[str, Path]:
    """In the order of turn `number`."""
    return dict(list(builds.items())[:: 1 if number % 2 else -1])


@contextlib.contextmanager
def _nodes(load: Load, builds: Mapping[str, Path], place: Path) -> Iterator[dict[str, _Leg]]:
    """A node of each build with a sink of its own, started in that order; the legs through them. Raises RunVoid when a
    node ends badly."""
    with contextlib.ExitStack() as stack:
        legs: dict[str, _Leg] = {}
        nodes = []
        for name, source in builds.items():
            logs = place / f"{name}-logs"
            logs.mkdir(parents=True)
            sink = stack.enter_context(stopping(Sink(logs / "sink.log")))
            errors = logs / "node.log"
            settings = load.settings if source == ROOT else []
            node = Node(place / f"{name}-data", load.workers, sink.address, errors, settings, source=source)
            nodes.append(stack.enter_context(stopping(node)))
            legs[name] = _leg_of(node, sink, logs)
            say(f"{name} is ready after {node.ready_after:.1f} s")
        yield legs
        for node in nodes:
            end_well(node)
    shutil.rmtree(place)


def _leg_of(node: Node, sink: Sink, logs: Path) -> _Leg:
    """A function that sends a load through the node: messages/s until the log and history have all of them, CPU of its
    processes."""

    def leg(load: Load) -> dict[str, Any]:
        quiet: Say = lambda text: None  # noqa: E731
        before = usage(node.family())
        with Flow(node, sink, load, logs, quiet) as flow:
            found = flow.end()
        late = max(found["journal_caught_up_s"], _history_caught_up(node, found["last_receipt"]))
        used = spent(before, usage(node.family()))
        roles = {role: round(use["cpu_seconds"] / found["messages"] * 1e6, 1) for role, use in used.items()}
        seconds = found["seconds"] + late
        return {
            "rate": round(found["messages"] / seconds, 1),
            "cpu_us": round(sum(roles.values()), 1),
            "seconds": round(seconds, 2),
            "cpu_us_by_role": roles,
        }

    return leg


def _history_caught_up(node: Node, last: float) -> float:
    """Seconds from `last` (Unix time) until the lists of the API have every event up to then; 0.0 where the node keeps
    no history. Raises RunVoid when it takes long."""
    while True:
        status, answer = node.call("GET", "/v1/messages?limit=1")
        late = time.time() - last
        if status != _OK:
            return 0.0
        if datetime.datetime.fromisoformat(answer["as_of"]).timestamp() >= last:
            return round(late, 2)
        if late > _HISTORY_WITHIN:
            raise RunVoid(
                f"{late:.1f} s after the last receipt history has no more than the events of {answer['as_of']}"
            )
        time.sleep(_BETWEEN_LOOKS)


def _by_start(pairs: Sequence[dict[str, Any]], figure: str) -> list[list[float]]:
    """The ratios of that figure, this tree by the base, of each start."""
    found: dict[int, list[float]] = {}
    for pair in pairs:
        found.setdefault(pair["start"], []).append(pair["here"][figure] / pair["base"][figure])
    return list(found.values())


def _interval(starts: Sequence[Sequence[float]]) -> dict[str, float]:
    """The median of all ratios, and the 90 % interval of it: 10,000 resamples of the starts (percentile bootstrap,
    fixed seed)."""
    ratios = [ratio for start in starts for ratio in start]
    draw = random.Random(0)
    medians = sorted(
        statistics.median(ratio for start in draw.choices(starts, k=len(starts)) for ratio in start)
        for _ in range(_RESAMPLES)
    )
    at = int(_RESAMPLES * _TAIL)
    return {
        "median": round(statistics.median(ratios), 3),
        "from": round(medians[at], 3),
        "to": round(medians[-1 - at], 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


def _by_role(legs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The median of the legs' CPU a message, in microseconds, of each role."""
    roles = dict.fromkeys(role for leg in legs for role in leg["cpu_us_by_role"])
    return {role: round(statistics.median(leg["cpu_us_by_role"].get(role, 0.0) for leg in legs), 1) for role in roles}


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
        f"{len(result['pairs'])} pairs of legs by turns, {result['pairs'][-1]['start']} starts of both nodes, "
        f"{load['size']} bytes, {load['sessions']} sessions, {load['domains']} domains, {load['workers']} workers "
        f"each; settings of this tree's node: {', '.join(load['settings']) or 'the defaults'}. A leg ends when the "
        "delivery log and history have all of it; the CPU is that of all processes of the node and its server. The "
        "intervals are those of starts.",
        "",
        "| start | pair | base, messages/s | here, messages/s | ratio | base, us | here, us |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, pair in enumerate(result["pairs"], 1):
        base, here = pair["base"], pair["here"]
        rates = f"{base['rate']:,.0f} | {here['rate']:,.0f} | {here['rate'] / base['rate']:.3f}"
        lines.append(f"| {pair['start']} | {number} | {rates} | {base['cpu_us']} | {here['cpu_us']} |")
    lines += ["", "| CPU a message of (median of the legs) | base, us | here, us |", "|---|---|---|"]
    base, here = (_by_role([pair[build] for pair in result["pairs"]]) for build in ("base", "here"))
    lines += [f"| {role} | {base.get(role, '')} | {here.get(role, '')} |" for role in base | here]
    return "\n".join([*lines, "", *report.machine_lines(result)]) + "\n"


COMMAND = Command(
    name="kept",
    about="This tree beside an earlier commit, in short legs by turns: rate and CPU a message, as ratios.",
    takes="4 minutes",
    options=_options,
    main=_main,
)
