"""The result of races: a row for each seed, written as JSON and as a page to read."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import machine, report
from tests.races import cancel_race, verdict
from tests.races.plan import STATES, Campaign

_ROOT = Path(__file__).resolve().parents[2]
_STORY = {
    "campaigns": (
        "Two nodes with two workers each deliver {messages:,} messages of two campaigns over the same connections, "
        "domains and pools. At a random moment, with mail of the one campaign due, scheduled, deferred, held and "
        "claimed in both pools and two lanes, a forced error stops it; in half of the seeds a worker is killed, "
        "paused or cut off from the store then. Times are ms after `effective_at` as the sink stamped them on reading; "
        "`listed`: each dot read later is in `past_dot`, or escaped where a process was stopped."
    ),
    "cancellations": (
        "Four clients cancel single messages at random times while the two workers of a node deliver {messages:,}."
    ),
}
_COLUMNS = {
    "campaigns": {
        "seed": "seed",
        "fault": "fault",
        "due": "due",
        "scheduled": "scheduled",
        "deferred": "deferred",
        "held": "held",
        "claimed": "claimed",
        "effective_ms": "order to effective, ms",
        "past_dot": "past_dot",
        "late_dots": "dots after",
        "latest_dot_ms": "latest dot, ms",
        "listed": "listed",
        "latest_mail_ms": "latest MAIL, ms",
        "delivered": "delivered",
        "intercepted": "intercepted",
        "kept": "other campaign",
        "copies": "copies",
        "uncertain": "uncertain",
        "escaped": "escaped",
        "seconds": "s",
        "ok": "ok",
    },
    "cancellations": {
        "seed": "seed",
        "canceled": "canceled",
        "delivered": "delivered",
        "200": "200",
        "202": "202",
        "409": "409",
        "uncertain": "uncertain",
        "seconds": "s",
        "ok": "ok",
    },
}


def campaign_row(evidence: verdict.Evidence, why: Sequence[str]) -> dict[str, Any]:
    """Counts of deliveries and milliseconds; states are those of the campaign when the order came."""
    late = evidence.late_receipts()
    stopped = evidence.after.ledger.account(evidence.ids_of(Campaign.STOP))
    kept = evidence.after.ledger.account(evidence.ids_of(Campaign.KEEP))
    latest = max((receipt.dot_at for receipt in late), default=0.0) - evidence.effective_at
    return {
        "seed": evidence.plan.seed,
        "fault": evidence.plan.fault.value,
        "lanes": evidence.plan.lanes,
        **{state: evidence.states()[state] for state in STATES},
        "effective_ms": round(evidence.effective_at - evidence.ordered_at),
        "past_dot": len(evidence.past_dot()),
        "late_dots": len(late),
        "latest_dot_ms": round(latest, 1) if late else None,
        "listed": {receipt.id for receipt in late} <= evidence.excused() if late else None,
        "latest_mail_ms": round(evidence.latest_mail()),
        "delivered": stopped["delivered"],
        "intercepted": sum(stopped["intercepted"].values()),
        "came_later": len(evidence.latecomers()),
        "kept": kept["delivered"],
        "copies": evidence.copies(),
        "uncertain": len(evidence.after.ledger.uncertain()),
        "escaped": len(evidence.escaped()),
        "why": list(why),
    }


def cancel_row(seed: int, evidence: cancel_race.Evidence, why: Sequence[str]) -> dict[str, Any]:
    return {
        "seed": seed,
        "canceled": len(evidence.after.ledger.ids("canceled")),
        "delivered": len(evidence.after.ledger.ids("delivered")),
        **{str(code): evidence.codes()[code] for code in (200, 202, 409)},
        "uncertain": len(evidence.after.ledger.uncertain()),
        "why": list(why),
    }


def write(directory: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], messages: Mapping[str, int]) -> Path:
    """`<date>-races.json` and `.md` under `directory`, never over an older result; the page's path."""
    now = datetime.datetime.now(datetime.UTC)
    result = {
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(_ROOT),
        "machine": machine.facts(),
        "messages": dict(messages),
        "races": rows,
    }
    return report.write(directory, f"{now:%Y-%m-%d}-races", result, _page(result))


def _page(result: Mapping[str, Any]) -> str:
    commit, facts = result["commit"], result["machine"]
    lines = [
        f"# Races of {result['date']}",
        "",
        f"Commit `{commit.get('commit', 'unknown')}`, {commit.get('changed_files', 0)} changed files beside it. "
        f"{facts['cores']} cores, {facts['processor']}, Python {facts['python']}.",
    ]
    for race, rows in result["races"].items():
        columns = _COLUMNS[race]
        failed = [row for row in rows if not row["ok"]]
        lines += ["", f"## Race of {race}: {len(rows)} seeds, {len(failed)} failed", ""]
        lines += [_STORY[race].format(messages=result["messages"][race]), ""]
        lines += ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows]
        for row in failed:
            lines += ["", f"Seed {row['seed']} failed:", "", *(f"- {sentence}" for sentence in row["why"])]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
