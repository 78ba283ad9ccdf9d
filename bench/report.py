"""The result of a benchmark: repeats brought down to median and spread, and written as JSON and as a page to read."""

import json
import statistics
from pathlib import Path
from typing import Any

_FIGURES = {
    "rate": "end to end, messages/s (first MAIL to last receipt)",
    "intake_rate": "intake, messages/s (first MAIL to last 250)",
    "direct": "direct hop, messages/s (source to sink, nothing between)",
    "of_direct": "end to end as a share of the direct hop",
    "journal_caught_up_s": "delivery log complete after the last receipt, s",
    "fdatasync": "fdatasync of 4 KiB, ms (median of a run)",
    "cpu_us_per_message": "CPU of Floodgate and its server, us per message",
}


def summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median, least and most of each figure over the runs that counted."""
    table: dict[str, dict[str, float]] = {}
    for name in _FIGURES:
        values = [_figure(run, name) for run in runs]
        if values:
            table[name] = {
                "median": round(statistics.median(values), 3),
                "least": round(min(values), 3),
                "most": round(max(values), 3),
            }
    return table


def write(directory: Path, stem: str, result: dict[str, Any]) -> tuple[Path, Path]:
    """Writes `<stem>.json` and `<stem>.md` under `directory`, never over an older result."""
    directory.mkdir(parents=True, exist_ok=True)
    free, number = stem, 1
    while (directory / f"{free}.json").exists():
        number += 1
        free = f"{stem}-{number}"
    data, page = directory / f"{free}.json", directory / f"{free}.md"
    data.write_text(json.dumps(result, indent=2) + "\n")
    page.write_text(as_page(result))
    return data, page


def as_page(result: dict[str, Any]) -> str:
    machine, load = result["machine"], result["load"]
    commit = result["commit"]
    lines = [
        f"# Benchmark of {result['date']}: {result['name']}",
        "",
        (
            f"Commit `{commit.get('commit', 'unknown')}`, {commit.get('changed_files', 0)} changed files beside it. "
            f"{len(result['runs'])} runs, {len(result['void'])} void."
        ),
        "",
        "| figure | median | least | most |",
        "|---|---|---|---|",
    ]
    for name, values in result["summary"].items():
        lines.append(f"| {_FIGURES[name]} | {values['median']:,} | {values['least']:,} | {values['most']:,} |")
    lines += ["", "## How it was measured", ""]
    lines += [
        (
            f"{load['messages']:,} messages of {load['size']:,} bytes with two tags, to {load['domains']} domains, "
            f"from {load['sessions']} SMTP sessions in a closed loop with pipelining; source, sink, server and "
            f"Floodgate ({load['workers']} workers, all features on, embedded server with `appendfsync always`) share "
            "the machine. A run counts when the source had every message accepted, the sink had each, the delivery "
            "log had one Delivery line per delivery within 5 s of the last receipt, the statement of the tag equalled "
            "the receipts, and the node ended with status 0 after SIGTERM."
        ),
        "",
        f"Machine: {machine['cores']} cores, {machine['processor']}, {machine['memory_gib']} GiB, Linux "
        f"{machine['kernel']}. Data on {result['file_system']['type']} ({result['file_system']['device']}). "
        f"Python {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
        + f"; {result['server'] or 'server unknown'}.",
        "",
        f"Settings beside the defaults: {', '.join(f'`{s}`' for s in load['settings']) or 'none'}.",
    ]
    for number, run in enumerate(result["runs"], 1):
        lines += ["", f"## Run {number}", "", *_run_lines(run)]
    for reason in result["void"]:
        lines += ["", f"Void: {reason}"]
    return "\n".join(lines) + "\n"


def _run_lines(run: dict[str, Any]) -> list[str]:
    lines = [
        f"- {run['rate']:,} messages/s in {run['seconds']} s; direct hop {run['direct']['rate']:,}",
        f"- end of data to 250, ms: {_ranks(run['dot_to_reply_ms'])}",
        f"- hand-over to receipt, ms: {_ranks(run['handover_to_receipt_ms'])}",
        f"- received per second: {', '.join(str(count) for count in run['received_per_second'])}",
        (
            f"- duplicates {run['duplicates']}, deferred at intake {run['deferred_at_intake']}, "
            f"connections to the sink {run['connections']}"
        ),
        "",
        "| process | CPU s | us per message | peak MiB |",
        "|---|---|---|---|",
    ]
    for role, use in run["processes"].items():
        each = use["cpu_seconds"] / run["messages"] * 1e6
        lines.append(f"| {role} | {use['cpu_seconds']} | {each:.1f} | {use.get('peak_rss_mib', '')} |")
    return lines


def _ranks(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _figure(run: dict[str, Any], name: str) -> float:
    if name == "direct":
        return float(run["direct"]["rate"])
    if name == "fdatasync":
        return float(run["fdatasync_ms"]["p50"])
    if name == "cpu_us_per_message":
        used = [use["cpu_seconds"] for role, use in run["processes"].items() if role not in ("source", "sink")]
        return float(sum(used) / run["messages"] * 1e6)
    return float(run[name])
