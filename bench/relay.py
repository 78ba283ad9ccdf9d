"""The command `relay`: scenario files, one after the other and again, each run on a node of its own."""

import argparse
import statistics
from pathlib import Path
from typing import Any

import msgspec

from bench import plots, relay_page, report, scenario_file
from bench.command import Command, data_root, opening, positive, result_options
from bench.processes import RunVoid
from bench.progress import say, show
from bench.scenario import Run
from bench.scenario_file import BadScenario, ScenarioFile
from bench.scenario_run import run

_MAIN = "main"
_EPILOG = """A scenario is a TOML file: one of those below by its name, or any other by its path. Several are run by
turns (A B A B ...), so that what drifts on the machine meets all of them, and compared with the first, repetition by
repetition. A run that is void is told with its reason, and the exit status is 1."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenarios", nargs="*", metavar="NAME|FILE.toml", help=f"scenarios; none = {_MAIN}")
    parser.add_argument("--messages", type=positive, metavar="N", help="of a run, instead of what the files say")
    parser.add_argument("--workers", type=positive, metavar="N", help="worker processes, instead of what the files say")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one more setting of the node")
    result_options(parser, "", 3)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    listing = [f"  {name:<28}{scenario.about}" for name, scenario in scenario_file.named().items()]
    parser.epilog = "\n".join([_EPILOG, "", "scenarios:", *listing])


def scenarios_of(given: argparse.Namespace) -> list[ScenarioFile]:
    """The scenarios that run by turns. Raises BadScenario."""
    found: list[ScenarioFile] = []
    for word in given.scenarios or [_MAIN]:
        scenario = scenario_file.find(word)
        again = sum(other.name.partition("#")[0] == scenario.name for other in found)
        load = msgspec.structs.replace(scenario.load, messages=given.messages or scenario.load.messages)
        node = msgspec.structs.replace(
            scenario.node,
            workers=given.workers or scenario.node.workers,
            settings=(*scenario.node.settings, *given.set),
        )
        name = f"{scenario.name}#{again + 1}" if again else scenario.name
        found.append(msgspec.structs.replace(scenario, name=name, load=load, node=node))
    return found


def _main(given: argparse.Namespace) -> int:
    try:
        scenarios = scenarios_of(given)
    except BadScenario as error:
        raise SystemExit(f"python -m bench: {error}") from None
    root = data_root(given.data_dir)
    runs: dict[str, list[Run | None]] = {scenario.name: [] for scenario in scenarios}
    void: dict[str, list[str]] = {scenario.name: [] for scenario in scenarios}
    for number in range(1, given.repeat + 1):
        for scenario in scenarios:
            say(f"{scenario.name}, run {number} of {given.repeat}: {scenario.load.messages:,} messages")
            try:
                runs[scenario.name].append(run(scenario, root, say))
            except RunVoid as error:
                runs[scenario.name].append(None)
                void[scenario.name].append(str(error))
                say(f"VOID: {error}")
    result = opening(given.name or _name_of(scenarios), root)
    result["scenarios"] = [_account(scenario, scenarios[0], runs, void[scenario.name]) for scenario in scenarios]
    if any(each["runs"] for each in result["scenarios"]):
        _write(given.results, result)
    if given.json:
        given.json.write_text(report.as_json(result))
    return 1 if any(void.values()) else 0


def _name_of(scenarios: list[ScenarioFile]) -> str:
    names = [scenario.name for scenario in scenarios]
    if names == [_MAIN]:
        return "relay"
    return names[0] if len(names) == 1 else f"{len(names)}-scenarios"


def _account(
    scenario: ScenarioFile, first: ScenarioFile, runs: dict[str, list[Run | None]], void: list[str]
) -> dict[str, Any]:
    """All of one scenario; its rate by that of the first, within each repetition that has both."""
    own = runs[scenario.name]
    counted = [each for each in own if each]
    ratios = [each["rate"] / other["rate"] for each, other in zip(own, runs[first.name], strict=True) if each and other]
    return {
        "name": scenario.name,
        "about": scenario.about,
        "file": msgspec.to_builtins(scenario),
        "summary": report.summary(counted, relay_page.FIGURES),
        "processes": relay_page.processes_of(counted),
        "to_first": report.spread(ratios) if ratios and scenario is not first else None,
        "runs": counted,
        "void": void,
    }


def _write(directory: Path, result: dict[str, Any]) -> None:
    stem = report.free_stem(directory, f"{result['date'][:10]}-{result['name']}")
    pictures: dict[str, str] = {}
    for each in result["scenarios"]:
        if each["runs"]:
            alone = len(result["scenarios"]) == 1
            picture = directory / (f"{stem}.png" if alone else f"{stem}-{each['name'].replace('#', '-')}.png")
            middle = _typical(each["runs"])
            if plots.flow(picture, f"{each['name']}: {each['about']}", middle["over_time"]):
                pictures[each["name"]] = picture.name
    for each in result["scenarios"]:
        if each["summary"]:
            show(["", each["name"], *report.plain_table(each["summary"], relay_page.FIGURES)])
    say(str(report.write(directory, stem, result, relay_page.page(result, pictures))))


def _typical(runs: list[Run]) -> Run:
    """The run with the median rate."""
    middle = statistics.median_low(each["rate"] for each in runs)
    return next(each for each in runs if each["rate"] == middle)


COMMAND = Command(
    name="relay",
    about="The relay in the scenarios of TOML files: rates, latencies, CPU and memory of mail in and out over SMTP.",
    takes="1 minute for each scenario",
    options=_options,
    main=_main,
)
