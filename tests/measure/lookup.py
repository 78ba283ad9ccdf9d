"""The cost of one lookup in the rule table, by the size of the table: `python -m tests.measure.lookup`.

It imports the table itself, which the harness in bench never does, and keeps its result beside those of the harness.
"""

import argparse
import datetime
import gc
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench import machine
from bench.plan import CAMPAIGN, customer_of
from bench.report import heading, machine_lines, write
from bench.rule_mix import KINDS, rule
from mta.model.rules import Change, ChangeOp, Head, Rule, Selectors
from mta.policy.rule_table import RuleTable

ROOT = Path(__file__).parents[2]
SIZES = (10, 1_000, 10_000, 100_000)
TAGS = (CAMPAIGN, customer_of(7))
_CHANGES = 20


class Mail(NamedTuple):
    """A delivery that is looked up, as the tables are asked for it."""

    name: str
    pool: str
    mta: str
    domain: str
    tags: tuple[str, ...]
    ip: str
    mx: str


MAILS = (
    Mail("relayed mail, in its queue", "default", "", "d3.bench.test", TAGS, "", ""),
    Mail(
        "relayed mail, at the attempt", "default", "192.0.2.1", "d3.bench.test", TAGS, "198.51.100.7", "mx.bench.test"
    ),
    Mail("mail with no tag and a domain of its own", "default", "", "example.org", (), "", ""),
    Mail("mail that a rule by tag matches", "default", "", "d3.bench.test", (*TAGS, "campaign_0"), "", ""),
)


def made(number: int) -> Rule:
    """Rule `number` of the mix, as the table knows it."""
    body = rule(number)
    names = Selectors.__struct_fields__
    selectors = msgspec.convert({name: body.pop(name) for name in names if name in body}, Selectors)
    return Rule(id=f"{number:08x}", selectors=selectors, generation=number + 1, **body)


def seconds_of(act: Callable[[], object], times: int) -> float:
    """Seconds of one call: the least of several rounds of `times` calls, since all else only adds to it."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(times):
            act()
        rounds.append((time.perf_counter() - start) / times)
    return min(rounds)


def nothing(pool: str, mta: str, domain: str, tags: tuple[str, ...], ip: str, mx: str) -> None:
    """The cost of the call alone."""


def measure(size: int, times: int) -> dict[str, Any]:
    """Build, lookup and change of a table of `size` rules."""
    rules = [made(number) for number in range(size)]
    gc.collect()
    start = time.perf_counter()
    table = RuleTable.build(Head(size, "built"), rules)
    build = time.perf_counter() - start
    lookups = {}
    for mail in MAILS:
        asked = mail[1:]
        calling = seconds_of(partial(nothing, *asked), times)
        seconds = seconds_of(partial(table._found, *asked), times) - calling
        winner = table.match(*asked)
        again = seconds_of(partial(table.match, *asked), times) - calling
        lookups[mail.name] = {
            "ns": round(seconds * 1e9),
            "again_ns": round(again * 1e9),
            "rule": winner.id if winner is not None else None,
        }
    changes = []
    for number in range(size, size + _CHANGES):  # each kind of rule in turn
        step = Change(Head(number + 1, "next"), ChangeOp.PUT, made(number))
        start = time.perf_counter()
        table = table.apply([step])
        changes.append(time.perf_counter() - start)
    return {
        "rules": size,
        "lookups": lookups,
        "build_ms": round(build * 1e3, 3),
        "change_ms": {"median": round(statistics.median(changes) * 1e3, 3), "max": round(max(changes) * 1e3, 3)},
        "mib": round(memory_of(rules) / 2**20, 2),
    }


def memory_of(rules: list[Rule]) -> int:
    """Bytes of a table's index, the rules themselves apart."""
    tracemalloc.start()
    try:
        table = RuleTable.build(Head(len(rules), "measured"), rules)
        assert len(table) == len(rules)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    sizes = result["sizes"]
    rows = [("ns per lookup", *(f"{size['rules']:,} rules" for size in sizes)), ("---",) * (len(sizes) + 1)]
    for key, said in (("ns", ""), ("again_ns", ", asked again")):
        rows += [(name + said, *(f"{size['lookups'][name][key]:,}" for size in sizes)) for name in sizes[0]["lookups"]]
    rows += [
        ("table built, ms", *(f"{size['build_ms']:,}" for size in sizes)),
        ("one rule more, ms (median)", *(f"{size['change_ms']['median']:,}" for size in sizes)),
        ("one rule more, ms (largest)", *(f"{size['change_ms']['max']:,}" for size in sizes)),
        ("index, MiB (rules apart)", *(f"{size['mib']:,}" for size in sizes)),
    ]
    lines = [*heading(result), "", *(f"| {' | '.join(row)} |" for row in rows), "", "## How it was measured", ""]
    lines += [
        f"Rules a fifth each by {', '.join(KINDS)}, close to relayed mail of two tags. A lookup is what "
        "`RuleTable.match` does the first time it is asked, and then when it is asked again; the least of five rounds "
        f"of {result['times']:,} calls, the cost of calling a function that does nothing taken off. One rule more: "
        f"`apply` of one change, {_CHANGES} of them, of each kind in turn.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.measure.lookup", description="Measure one lookup in rule tables of several sizes."
    )
    parser.add_argument("--rules", type=int, action="append", help=f"a size of table; else {SIZES}")
    parser.add_argument("--times", type=int, default=50_000, help="lookups of one round, of five")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", help="where the files go")
    given = parser.parse_args(argv)
    sizes = []
    for size in given.rules or SIZES:
        sizes.append(measure(size, given.times))
        print(json.dumps(sizes[-1]), file=sys.stderr, flush=True)
    now = datetime.datetime.now(datetime.UTC)
    result = {
        "name": "lookup",
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "machine": machine.facts(),
        "times": given.times,
        "sizes": sizes,
    }
    print(write(given.results, f"{now:%Y-%m-%d}-lookup", result, as_page(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
