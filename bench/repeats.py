"""The repeats of a scenario, one after the other, and their result."""

import argparse
from typing import Any

import msgspec

from bench import report
from bench.command import Command, data_root, opening, result_options
from bench.processes import RunVoid
from bench.progress import say, show
from bench.scenario import Run, Scenario

_COMMON = ("command", "repeat", "name", "data_dir", "results", "json", "size", "sessions", "domains", "workers", "set")


def command_of(scenario: Scenario) -> Command:
    """The scenario as a sub-command."""

    def options(parser: argparse.ArgumentParser) -> None:
        scenario.options(parser)
        result_options(parser, scenario.name, scenario.repeat)

    return Command(scenario.name, scenario.about, scenario.takes, options, lambda given: _main(scenario, given))


def _main(scenario: Scenario, given: argparse.Namespace) -> int:
    root = data_root(given.data_dir)
    load = scenario.load(given)
    runs: list[Run] = []
    void: list[str] = []
    for number in range(1, given.repeat + 1):
        say(f"{scenario.name}, run {number} of {given.repeat}")
        try:
            runs.append(scenario.run(load, given, root, say))
        except RunVoid as error:
            void.append(str(error))
            say(f"VOID: {error}")
    result = opening(given.name, root) | {
        "scenario": scenario.name,
        "load": msgspec.to_builtins(load),
        "options": {name: value for name, value in vars(given).items() if name not in _COMMON},
        "server": runs[0]["server"] if runs else "",
        "summary": report.summary_of(runs, scenario),
        "runs": runs,
        "void": void,
    }
    if runs:
        _tell(scenario, given, result)
    if given.json:
        given.json.write_text(report.as_json(result))
    return 1 if void else 0


def _tell(scenario: Scenario, given: argparse.Namespace, result: dict[str, Any]) -> None:
    show(report.plain_table(result["summary"], report.with_sync(scenario.figures)))
    page = report.as_page(result, scenario)
    say(str(report.write(given.results, f"{result['date'][:10]}-{result['name']}", result, page)))
