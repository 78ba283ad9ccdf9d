"""The table of destinations as a page to read, and the same as JSON."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from tests.destinations.kinds import PIPELINED, Kind
from tests.destinations.run_floodgate import ATTEMPTS, Ended
from tests.support.scripted_peer import USUAL, Act, Pieces, Read, Script, Wait

_ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 48  # octets of a reply on the page
_KEPT = 120  # characters of one in the JSON


def write(
    folder: Path, kinds: Sequence[Kind], floodgate: dict[str, Ended], postfix: dict[str, Ended] | None, version: str
) -> Path:
    """The page's path; beside it the JSON. `postfix` None: it did not take part, and `version` says why."""
    now = datetime.datetime.now(datetime.UTC)
    stem = folder / f"{now:%Y-%m-%d}-destinations"
    rows = [
        {
            "kind": kind.name,
            "says": described(kind),
            "floodgate": _kept(floodgate[kind.name]),
            "postfix": _kept(postfix[kind.name]) if postfix else None,
            "why": kind.why,
        }
        for kind in kinds
    ]
    commit = machine.commit(_ROOT).get("commit", "unknown")
    folder.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(
        json.dumps({"commit": commit, "postfix": version, "kinds": rows}, indent=1) + "\n"
    )
    page = stem.with_suffix(".md")
    page.write_text("\n".join(_page(kinds, floodgate, postfix, version, now, commit)) + "\n")
    return page


def _page(
    kinds: Sequence[Kind],
    floodgate: dict[str, Ended],
    postfix: dict[str, Ended] | None,
    version: str,
    now: datetime.datetime,
    commit: str,
) -> list[str]:
    lines = [
        f"# {len(kinds)} kinds of nasty destinations, {now:%Y-%m-%dT%H:%M:%SZ}",
        "",
        f"Commit `{commit}`; {version}. Every destination is an ordinary server but for the words shown (one segment "
        f"each unless said otherwise). Each gets one message and {ATTEMPTS} attempts at most, with time-outs of 2 s; "
        "TransientFailure: still deferred then. Copies: how often the message came with its final dot.",
        "",
    ]
    if postfix:
        same = sum(floodgate[kind.name].ends == postfix[kind.name].ends for kind in kinds)
        lines += [f"{same} of {len(kinds)} end alike; the last section has a reason for each other one.", ""]
    lines += ["| kind | the destination | Floodgate | copies | Postfix | copies |", "|---|---|---|---|---|---|"]
    for kind in kinds:
        ours, theirs = floodgate[kind.name], postfix[kind.name] if postfix else None
        shown = f"{_end(theirs)} | {theirs.copies}" if theirs else " | "
        lines.append(f"| {kind.name} | {described(kind)} | {_end(ours)} | {ours.copies} | {shown} |")
    if postfix:
        lines += ["", "## Why they differ", "", "| kind | Floodgate | Postfix | reason |", "|---|---|---|---|"]
        for kind in kinds:
            ours, theirs = floodgate[kind.name], postfix[kind.name]
            if ours.ends != theirs.ends:
                lines.append(f"| {kind.name} | {ours.ends} | {theirs.ends} | {kind.why} |")
    return lines


def _kept(one: Ended) -> dict[str, str | int]:
    return one._asdict() | {"text": one.text[:_KEPT]}


def _end(one: Ended) -> str:
    return f"{one.ends} {one.code}" if one.code else one.ends


def described(kind: Kind) -> str:
    """The script in words."""
    words = [_acts(phase, kind.script) for phase in kind.script]
    if kind.later is not None:
        words.append("an ordinary server from the second connection on")
    if kind.offers != PIPELINED:
        words.append("no PIPELINING")
    if kind.tls:
        words.append("STARTTLS works")
    if kind.large:
        words.append("a message of 5 MB")
    return "; ".join(words)


def _acts(phase: str, script: Script) -> str:
    return f"{phase}: " + ", ".join(_act(act) for act in script[phase])


def _act(act: Act) -> str:
    if isinstance(act, Wait):
        return f"wait {act.seconds:g} s"
    if isinstance(act, Read):
        return f"read {act.octets // 1024} KiB"
    if isinstance(act, Pieces):
        return f"{_bytes(act.data)} in pieces of {act.size}"
    if isinstance(act, str):
        return "the usual" if act == USUAL else act
    return _bytes(act)


def _bytes(data: bytes) -> str:
    short = len(data) <= _SHOWN
    shown = data if short else data[: _SHOWN // 2] + b"..."
    text = shown.decode("latin-1").encode("unicode_escape").decode().replace("|", "\\|")
    return f"`{text}`" if short else f"`{text}` ({len(data):,} octets)"
