"""The result of soaks as dated files: JSON, and a page to read."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import machine, report
from tests.soak.cluster import SETTINGS, WORKERS
from tests.soak.plan import NODES

_ROOT = Path(__file__).resolve().parents[2]
_STORY = (
    f"{len(NODES)} nodes with {WORKERS} workers each reach one Valkey (`appendfsync always`) through networks of their "
    "own; a destination defers, refuses, drops and stalls. Each fault is about one process, one network or the store; "
    "every order cancels a campaign by its tag. The verdict is made from what the clients were told, what the "
    "destination read, the store's books and the log."
)
_MEANING = {
    "lost": "accepted, and neither received nor ended otherwise",
    "stuck": "accepted, and still waiting or claimed after the drain",
    "phantom": "received or accounted although the client was told that it was refused",
    "late": "received after `effective_at` of an order, and not in its `past_dot`",
    "unbalanced": "statements or books that do not sum, or differ from a count one by one",
    "unexplained": "second copies that no event allows",
}


def write(directory: Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """`<date>-soak.json` and `.md` under `directory`, never over an older result; the page's path."""
    now = datetime.datetime.now(datetime.UTC)
    result = {
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(_ROOT),
        "machine": machine.facts(),
        "settings": SETTINGS,
        "soaks": list(results),
    }
    return report.write(directory, f"{now:%Y-%m-%d}-soak", result, _page(result))


def _page(result: Mapping[str, Any]) -> str:
    commit, facts = result["commit"], result["machine"]
    lines = [
        f"# Soak of {result['date']}",
        "",
        f"Commit `{commit.get('commit', 'unknown')}`, {commit.get('changed_files', 0)} changed files beside it. "
        f"{facts['cores']} cores, {facts['processor']}, Python {facts['python']}.",
        "",
        _STORY,
        "",
        "Settings: " + ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in result["settings"].items()) + ".",
    ]
    for soak in result["soaks"]:
        lines += ["", *_soak(soak)]
    return "\n".join(lines) + "\n"


def _soak(soak: Mapping[str, Any]) -> list[str]:
    told, deliveries, orders = soak["messages"], soak["deliveries"], soak["orders"]
    ended = ", ".join(f"{count:,} {how}" for how, count in sorted(deliveries["ended"].items()))
    effect = orders["effective_ms"] or {"median": "-", "max": "-"}
    lines = [
        f"## Seed {soak['seed']}: {'clean' if soak['clean'] else 'NOT CLEAN'}",
        "",
        f"{soak['seconds']:g} s at {soak['rate']:g} messages/s, an order every {soak['order_every']:g} s, a fault "
        f"every {soak['fault_every']:g} s.",
        "",
        "- messages: " + ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in told.items()),
        f"- deliveries: {deliveries['accepted']:,} accepted, {deliveries['received']:,} received; {ended}; "
        f"{deliveries['uncertain']:,} uncertain",
        f"- orders: {orders['given']}, effective after {effect['median']} ms (median), {effect['max']} ms (longest); "
        f"{orders['past_dot']} deliveries past their dot",
        f"- {deliveries['late_outcomes']} late outcomes, {deliveries['escaped']} escaped, "
        f"{sum(soak['tracebacks'].values())} tracebacks in the nodes' logs",
        f"- at rest {soak['drained_in']} s after the end" if soak["drained_in"] is not None else "- never at rest",
        "",
        "| verdict | count | |",
        "|---|---|---|",
        *(f"| {kind} | {count} | {_MEANING[kind]} |" for kind, count in soak["verdict"].items()),
        "",
        "| fault | times |",
        "|---|---|",
        *(f"| {what} | {count} |" for what, count in sorted(soak["faults"].items())),
        "",
        "| second copies | count |",
        "|---|---|",
        *(f"| {why} | {count} |" for why, count in sorted(soak["copies"].items())),
    ]
    for kind, examples in soak["examples"].items():
        lines += ["", f"{kind.capitalize()}:", "", *(f"- {text}" for text in examples)]
    if soak["tracebacks"]:
        lines += ["", "Tracebacks in the nodes' logs:", ""]
        lines += [f"- {count} x `{text}`" for text, count in soak["tracebacks"].items()]
    if soak["ended_by_themselves"]:
        lines += ["", "Processes that ended without a fault about them:", ""]
        lines += [f"- {text}" for text in soak["ended_by_themselves"]]
    return lines
