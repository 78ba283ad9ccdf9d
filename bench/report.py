"""The result of a benchmark: repeats brought down to median and spread, and written as JSON and as a page to read."""

import json
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.scenario import Figure, Run, Scenario

_WIDTH = 120  # columns of a result file
_LABEL, _NUMBER = 44, 12  # columns of a terminal

SYNC = Figure("fdatasync of 4 KiB, ms (median of a run)", lambda run: run["fdatasync_ms"]["p50"])


def summary(runs: Sequence[Run], figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    """Median, least and most of each figure over the runs that counted and have it."""
    table: dict[str, dict[str, float]] = {}
    for name, figure in figures.items():
        values = [value for value in map(figure.of, runs) if value is not None]
        if values:
            table[name] = spread(values)
    return table


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }


def free_stem(directory: Path, stem: str) -> str:
    """The stem, with a number where an older result under `directory` has it already."""
    free, number = stem, 1
    while (directory / f"{free}.json").exists():
        number += 1
        free = f"{stem}-{number}"
    return free


def write(directory: Path, stem: str, result: dict[str, Any], page: str) -> Path:
    """Writes `<stem>.json` and `<stem>.md` under `directory`, never over an older result; the page's path."""
    directory.mkdir(parents=True, exist_ok=True)
    free = free_stem(directory, stem)
    (directory / f"{free}.json").write_text(as_json(result))
    path = directory / f"{free}.md"
    path.write_text(page)
    return path


def as_json(result: Any) -> str:
    """For people, too: a value that fits stands on one line, and a long list of plain values is wrapped."""
    return _json_of(result, "") + "\n"


def _json_of(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= _WIDTH or not isinstance(value, dict | list):
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(name)}: {_json_of(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(inner + item for item in items) + f"\n{indent}}}"
    if any(isinstance(item, dict | list | str) for item in value):
        return "[\n" + ",\n".join(inner + _json_of(item, inner) for item in value) + f"\n{indent}]"
    numbers = textwrap.fill(flat[1:-1], _WIDTH, initial_indent=inner, subsequent_indent=inner)
    return f"[\n{numbers}\n{indent}]"


def as_page(result: dict[str, Any], scenario: Scenario) -> str:
    """The result of a scenario for people."""
    lines = [
        *heading(result),
        f"{len(result['runs'])} runs, {len(result['void'])} void.",
        "",
        *figure_table(result["summary"], with_sync(scenario.figures)),
    ]
    settings = ", ".join(f"`{setting}`" for setting in result["load"]["settings"]) or "none"
    lines += [
        "",
        "## How it was measured",
        "",
        " ".join(scenario.conditions(result["load"], result["options"]).split()),
    ]
    lines += ["", *machine_lines(result), "", f"Settings beside the defaults: {settings}."]
    for number, run in enumerate(result["runs"], 1):
        lines += ["", f"## Run {number}", "", *scenario.lines(run)]
    for reason in result["void"]:
        lines += ["", f"Void: {reason}"]
    return "\n".join(lines) + "\n"


def summary_of(runs: Sequence[Run], scenario: Scenario) -> dict[str, dict[str, float]]:
    """The summary of a scenario, with the disk's sync beside it."""
    return summary(runs, with_sync(scenario.figures))


def figure_table(found: Mapping[str, Mapping[str, float]], figures: Mapping[str, Figure]) -> list[str]:
    """The summary, one row for each figure that was found."""
    lines = ["| figure | median | least | most |", "|---|---|---|---|"]
    for name, figure in figures.items():
        if values := found.get(name):
            lines.append(f"| {figure.label} | {values['median']:,} | {values['least']:,} | {values['most']:,} |")
    return lines


def plain_table(found: Mapping[str, Mapping[str, float]], figures: Mapping[str, Figure]) -> list[str]:
    """The same for a terminal, in lines of 80 columns at most."""
    lines = [f"{'figure':<{_LABEL}}{'median':>{_NUMBER}}{'least':>{_NUMBER}}{'most':>{_NUMBER}}"]
    for name, figure in figures.items():
        if values := found.get(name):
            *above, label = textwrap.wrap(figure.label, _LABEL - 2)
            numbers = "".join(f"{values[key]:>{_NUMBER},}" for key in ("median", "least", "most"))
            lines += [*above, f"{label:<{_LABEL}}{numbers}"]
    return lines


def heading(result: dict[str, Any]) -> list[str]:
    """Title and commit."""
    commit = result["commit"]
    return [
        f"# Benchmark of {result['date']}: {result['name']}",
        "",
        f"Commit `{commit.get('commit', 'unknown')}`, {commit.get('changed_files', 0)} changed files beside it.",
    ]


def machine_lines(result: dict[str, Any]) -> list[str]:
    """Machine, disk and versions, in one paragraph."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    disk = result.get("file_system")
    data = f" Data on {disk['type']} ({disk['device']})." if disk else ""
    server = f"; {result['server']}" if result.get("server") else ""
    return [
        f"Machine: {machine['cores']} cores, {machine['processor']}, {machine['memory_gib']} GiB, Linux "
        f"{machine['kernel']}.{data} Python {machine['python']}; {versions}{server}."
    ]


def with_sync(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """The figures, and the disk's sync beside them."""
    return {**figures, "fdatasync": SYNC}


def process_table(processes: Mapping[str, Mapping[str, float]], count: int, unit: str) -> list[str]:
    """CPU and memory by process, in total and for 1,000 of the run's units, which `unit` names in the plural."""
    lines = ["", f"| process | CPU s | CPU s per 1,000 {unit} | peak MiB |", "|---|---|---|---|"]
    for role, use in processes.items():
        each = use["cpu_seconds"] / count * 1000
        lines.append(f"| {role} | {use['cpu_seconds']} | {each:.4f} | {use.get('peak_rss_mib', '')} |")
    return lines
