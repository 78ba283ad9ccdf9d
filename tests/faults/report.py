"""The result of runs with faults: a row for each, written as JSON and as a page to read."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench import machine, report

_ROOT: Final = Path(__file__).resolve().parents[2]
_COLUMNS: Final = ("seed", "deliveries", "repeats", "events", "killed", "s", "ok")
STORIES: Final = {
    "keys": (
        "Four clients hand mail in with idempotency keys, over SMTP and over HTTP, and repeat each call until it has "
        "an answer; half of the calls are made again. Workers, the processes that take mail over HTTP, the API and the "
        "server of the store are killed at random. Each key is accepted once, a repeat has the same answer, and the "
        "destination receives what was answered."
    ),
    "sqlite": (
        "One node delivers while its journal and its API are killed at random. History in files, the log and a reader "
        "by cursor have each event once, and history has the deliveries that the destination received."
    ),
    "postgresql": (
        "Two nodes deliver while their journals, their APIs and the database are killed at random. History in "
        "PostgreSQL is compared in the same way."
    ),
}


def write(directory: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """`<date>-faults.json` and `.md` under `directory`, never over an older result; the page's path."""
    now = datetime.datetime.now(datetime.UTC)
    result = {
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(_ROOT),
        "machine": machine.facts(),
        "runs": sorted(rows, key=lambda row: (row["kind"], row["seed"])),
    }
    return report.write(directory, f"{now:%Y-%m-%d}-faults", result, _page(result))


def _page(result: dict[str, Any]) -> str:
    commit, facts = result["commit"], result["machine"]
    lines = [
        f"# Runs with faults of {result['date']}",
        "",
        f"Commit `{commit.get('commit', 'unknown')}`, {commit.get('changed_files', 0)} changed files beside it. "
        f"{facts['cores']} cores, {facts['processor']}, Python {facts['python']}.",
    ]
    for kind, story in STORIES.items():
        rows = [row for row in result["runs"] if row["kind"] == kind]
        failed = [row for row in rows if row["why"]]
        if not rows:
            continue
        columns = [name for name in _COLUMNS if any(name in row for row in rows) or name == "ok"]
        lines += ["", f"## {kind}: {len(rows)} seeds, {len(failed)} failed", "", story, ""]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_cell(row, name) for name in columns) + " |" for row in rows]
        for row in failed:
            lines += ["", f"Seed {row['seed']} failed: {row['why']}"]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], name: str) -> str:
    if name == "ok":
        return "no" if row["why"] else "yes"
    value = row.get(name, "")
    if isinstance(value, dict):
        return ", ".join(f"{many} {kind}" for kind, many in sorted(value.items()))
    return f"{value:,}" if isinstance(value, int) and name != "seed" else str(value)
