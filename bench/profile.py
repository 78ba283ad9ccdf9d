"""The command `profile`: where each microsecond of a message goes, in every process, under one scenario."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench import profile_legs, profile_page, profile_perf, profile_summary, profile_table, report, scenario_file
from bench.command import Command, data_root, opening, place_options, positive
from bench.processes import RunVoid
from bench.profile_legs import Leg, Looks
from bench.profile_server import Spent
from bench.profile_stacks import Stack
from bench.progress import Say, say
from bench.scenario_file import BadScenario, ScenarioFile, ShapePart

_NO_LOOKS = Looks({}, {})


class Profile(NamedTuple):
    """The legs of one profile; `kernel` is None where perf was not at hand."""

    alone: Leg[None]
    stacks: Leg[dict[str, list[Stack]]]
    kernel: Leg[Looks] | None
    server: Leg[dict[str, Spent]]

    @property
    def looks(self) -> Looks:
        return self.kernel.saw if self.kernel else _NO_LOOKS

    def weighed(self) -> dict[str, list[Stack]]:
        """The stacks by process, as perf weighs them."""
        kinds = self.looks.kinds
        return {role: profile_table.weighed(seen, kinds.get(role, {})) for role, seen in self.stacks.saw.items()}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", nargs="?", default="main", metavar="NAME|FILE.toml", help="a scenario of `relay`")
    parser.add_argument("--seconds", type=positive, default=20, help="how long each of the four legs is watched")
    parser.add_argument("--rate", type=positive, default=50, help="looks of py-spy at each process, per second")
    parser.add_argument("--workers", type=positive, metavar="N", help="worker processes, instead of what the file says")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one more setting of the node")
    place_options(parser, "profile")


def scenario_of(given: argparse.Namespace) -> ScenarioFile:
    """The scenario that is profiled. Raises BadScenario."""
    scenario = scenario_file.find(given.scenario)
    if scenario.shape != ShapePart():
        raise BadScenario(f"{given.scenario}: it has a [shape], which no steady flow has; profile one without")
    node = msgspec.structs.replace(
        scenario.node,
        workers=given.workers or scenario.node.workers,
        settings=(*scenario.node.settings, *given.set),
    )
    return msgspec.structs.replace(scenario, node=node)


def profile(scenario: ScenarioFile, seconds: float, rate: int, root: Path, say: Say) -> Profile:
    """All legs, each through a node of its own. Raises RunVoid."""
    load = scenario.as_load()
    say(f"1 of 4: nothing watches, {seconds:.0f} s")
    alone = profile_legs.leg(load, seconds, profile_legs.alone, root, say)
    say("2 of 4: py-spy looks at the stacks of the Python processes")
    stacks = profile_legs.leg(load, seconds, profile_legs.python_stacks(rate), root, say)
    kernel = None
    if profile_perf.at_hand():
        say("3 of 4: perf looks at all processes")
        kernel = profile_legs.leg(load, seconds, profile_legs.looks, root, say)
    else:
        say("3 of 4: perf is not installed: no system calls, and no parts of the server")
    say("4 of 4: the server tells its commands")
    return Profile(alone, stacks, kernel, profile_legs.leg(load, seconds, profile_legs.server_commands, root, say))


def account(found: Profile, weighed: dict[str, list[Stack]]) -> dict[str, Any]:
    """The profile as JSON."""
    cpu, server = found.alone.cpu_us, found.server
    steps = profile_table.steps(server.saw, server.messages)
    rows = profile_table.python_rows(cpu, weighed)
    rows += profile_table.server_rows(cpu.get(profile_legs.SERVER, 0.0), found.looks.parts, steps)
    legs = {"nothing": found.alone, "py-spy": found.stacks, "perf": found.kernel, "command log": server}
    return {
        "server": found.alone.server,
        "legs": [
            {
                "watched_by": name,
                "rate": round(leg.rate, 1),
                "messages": leg.messages,
                "function_calls": round(leg.function_calls, 3),
                "cpu_us": leg.cpu_us,
            }
            for name, leg in legs.items()
            if leg is not None
        ],
        "stages": [row._asdict() for row in rows],
        "kinds": found.looks.kinds,
        "server_parts": {name: part._asdict() for name, part in found.looks.parts.items()},
        "server_commands": {
            name: {"per_1000": spent.calls / server.messages * 1000, "us_each": spent.us / spent.calls}
            for name, spent in sorted(server.saw.items(), key=lambda item: -item[1].us)
        },
        "samples": {role: sum(stack.weight for stack in seen) for role, seen in found.stacks.saw.items()},
    }


def _main(given: argparse.Namespace) -> int:
    try:
        scenario = scenario_of(given)
    except BadScenario as error:
        raise SystemExit(f"python -m bench: {error}") from None
    profile_legs.py_spy()
    root = data_root(given.data_dir)
    try:
        found = profile(scenario, given.seconds, given.rate, root, say)
    except RunVoid as error:
        say(f"VOID: {error}")
        return 1
    weighed = found.weighed()
    result = opening(given.name, root) | {"file": msgspec.to_builtins(scenario)} | account(found, weighed)
    stem = report.free_stem(given.results, f"{result['date'][:10]}-{given.name}")
    say(str(report.write(given.results, stem, result, profile_page.page(result))))
    for line in profile_page.stage_table(result):
        say(line)
    for name, text in profile_summary.texts(found.alone.cpu_us, weighed).items():
        (given.results / f"{stem}-{name}.txt").write_text(text)
    if given.json:
        given.json.write_text(report.as_json(result))
    return 0


COMMAND = Command(
    name="profile",
    about="Where each microsecond of a message goes: every process under one scenario, sampled.",
    takes="10 minutes",
    options=_options,
    main=_main,
)
