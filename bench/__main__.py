"""`python -m bench SCENARIO`: figures of an embedded node on this machine, as dated files in bench/results."""

import argparse
import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from bench import machine, orders, relay, report, rules, sweep
from bench.processes import RunVoid
from bench.progress import say
from bench.scenario import Run, Scenario, positive

_ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = {module.SCENARIO.name: module.SCENARIO for module in (relay, orders, sweep, rules)}
_COMMON = ("scenario", "repeat", "name", "data_dir", "results", "json", "size", "sessions", "domains", "workers", "set")
_EPILOG = """Each scenario starts a node of its own on a fresh directory, loads it, checks that source, sink, delivery
log and statements agree, and stops it. Figures of a run in which they do not agree are thrown away: the run is void,
and the exit status 1. bench/README.md tells what is measured, and first what is not."""


def arguments(argv: list[str]) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure one Floodgate node; without a scenario: relay.",
        epilog=_EPILOG,
    )
    scenarios = parser.add_subparsers(dest="scenario", metavar="SCENARIO", required=True)
    for scenario in SCENARIOS.values():
        about = scenario.about
        each = scenarios.add_parser(
            scenario.name,
            help=about,
            description=about,
            epilog=_EPILOG,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        scenario.options(each)
        each.add_argument("--repeat", type=positive, default=scenario.repeat, help="runs, each on a fresh directory")
        each.add_argument("--data-dir", type=Path, help="a directory on a real disk; data goes to a new one below it")
        each.add_argument("--name", default=scenario.name, help="ends the names of the result files")
        each.add_argument("--results", type=Path, default=_ROOT / "bench" / "results", help="where these files go")
        each.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    if not argv or (argv[0] not in SCENARIOS and argv[0] not in ("-h", "--help")):
        argv = ["relay", *argv]
    return parser.parse_args(argv)


def _data_root(given: Path | None) -> Path:
    for place in [given] if given else [Path("/var/tmp"), Path(tempfile.gettempdir()), Path.home()]:
        if place.is_dir() and machine.is_real_disk(place):
            return place
    raise SystemExit(
        f"python -m bench: {given or 'no temporary directory'} is not a directory on a real disk (file system "
        f"{machine.file_system(given)['type'] if given else 'tmpfs'}); give one with --data-dir"
    )


def main(argv: list[str] | None = None) -> int:
    given = arguments(sys.argv[1:] if argv is None else argv)
    scenario = SCENARIOS[given.scenario]
    root = _data_root(given.data_dir)
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
    result = {
        "name": given.name,
        "scenario": scenario.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(_ROOT),
        "load": msgspec.to_builtins(load),
        "options": {name: value for name, value in vars(given).items() if name not in _COMMON},
        "machine": machine.facts(),
        "server": runs[0]["server"] if runs else "",
        "file_system": machine.file_system(root),
        "summary": report.summary_of(runs, scenario),
        "runs": runs,
        "void": void,
    }
    if runs:
        _tell(scenario, given.results, result)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if void else 0


def _tell(scenario: Scenario, directory: Path, result: dict[str, Any]) -> None:
    for name, values in result["summary"].items():
        label = scenario.figures[name].label if name in scenario.figures else report.SYNC.label
        say(f"{label}: {values['median']:,} ({values['least']:,} to {values['most']:,})")
    page = report.as_page(result, scenario)
    say(str(report.write(directory, f"{result['date'][:10]}-{result['name']}", result, page)))


if __name__ == "__main__":
    sys.exit(main())
