"""The page of a comparison: targets, rates, ratios and CPU, and how each relay was configured."""

from typing import Any

from bench import report
from bench.peers.case import CASES
from bench.peers.relays import Relay
from bench.peers.targets import CEILING, TARGETS, Spread, Target, ratios, spread, verdict

_OURS = "floodgate"


def facts(relay: Relay) -> dict[str, Any]:
    """The facts about a relay that the result keeps."""
    return {
        "version": relay.version,
        "durability": relay.durability,
        "configured": relay.configured(held=False),
        "configured_to_hold": relay.configured(held=True),
    }


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """By tools and case: spreads of rate and CPU by relay, and of Floodgate's rate over each of the others."""
    return {tools: _summary_of(result, tools) for tools in result["tools"]}


def _summary_of(result: dict[str, Any], tools: str) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for case in CASES:
        rounds = [run["measured"] for run in result["runs"] if (run["tools"], run["case"]) == (tools, case)]
        names = [name for name in (CEILING, *result["relays"]) if any(name in each for each in rounds)]
        rates = [{name: each[name]["rate"] for name in each} for each in rounds]
        if names:
            table[case] = {
                "rate": {name: spread([each[name] for each in rates if name in each], 1) for name in names},
                "intake_rate": {name: _spread_of(rounds, name, "intake_rate") for name in names},
                "cpu_us": {name: _spread_of(rounds, name, "cpu_us") for name in names if name != CEILING},
                "ratio": {name: spread(ratios(rates, _OURS, name)) for name in names if name != _OURS},
            }
    return table


def _spread_of(rounds: list[dict[str, Any]], name: str, figure: str) -> Spread:
    """Of those that have the figure."""
    return spread([each[name][figure] for each in rounds if each.get(name, {}).get(figure) is not None], 1)


def _ratio(result: dict[str, Any], tools: str, target: Target) -> Spread:
    found: Spread = result["summary"][tools].get(target.case, {}).get("ratio", {}).get(target.other, {})
    return found


def target_lines(result: dict[str, Any]) -> list[str]:
    """Each target in a line, for the terminal."""
    lines = []
    for tools in result["tools"]:
        for target in TARGETS:
            if ratio := _ratio(result, tools, target):
                what = f"{tools} tools, {CASES[target.case].about}, over {target.other}"
                lines.append(f"{what}: {shown(ratio)}; required {target.required}: {verdict(target, ratio)}")
    return lines


def shown(values: Spread) -> str:
    """Median and spread."""
    return f"{values['median']:,} ({values['least']:,} to {values['most']:,})" if values else ""


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [*report.heading(result), f"{len(result['void'])} void measurements.", "", _conditions(result)]
    for tools, about in result["tools"].items():
        lines += [
            "",
            f"## With {tools} tools",
            "",
            f"{about[0].upper()}{about[1:]}.",
            "",
            *_target_table(result, tools),
        ]
        lines += _case_tables(result, tools)
    lines += ["", "## The relays", ""]
    for name, each in result["relays"].items():
        lines.append(f"- {each['version']} (`{name}`): {each['durability']}.")
    lines += [f"- Without {name}: {reason}" for name, reason in result["missing"].items()]
    lines += ["", *report.machine_lines(result), "", _sync_line(result)]
    for name, each in result["relays"].items():
        lines += ["", f"## How {name} was configured", "", "```", each["configured"].rstrip(), "```"]
        lines += ["", "To hold what it accepts:", "", *_difference(each)]
    lines += [line for reason in result["void"] for line in ("", f"Void: {reason}")]
    return "\n".join(lines) + "\n"


def _conditions(result: dict[str, Any]) -> str:
    options = result["options"]
    text = f"""
    In each repetition, and for each kind of load, the direct hop and the relays follow one another; a ratio is made of
    two measurements of one repetition, and median and spread are those of the ratios. Each relay starts on a fresh
    directory, gets {options["warm_up"]:,} messages to warm up, and then as many as take about {options["seconds"]:g} s
    at the rate of the warm-up, from {options["sessions"]} sessions. Source, destination and relay share the machine. A
    rate goes from the first connection to the last receipt, of held mail to the last 250. A measurement counts when
    every message was accepted, the destination received each once (of held mail none, and the relay has it all), and
    Floodgate's statement and delivery log agree."""
    return " ".join(text.split())


def _target_table(result: dict[str, Any], tools: str) -> list[str]:
    lines = ["| Floodgate over | measured (least to most) | required | goal | |", "|---|---|---|---|---|"]
    for target in TARGETS:
        ratio = _ratio(result, tools, target)
        if ratio:
            goal = "" if target.goal is None else f"{target.goal:g}"
            what = f"{'the direct hop' if target.other == CEILING else target.other}, {CASES[target.case].about}"
            lines.append(f"| {what} | {shown(ratio)} | {target.required:g} | {goal} | {verdict(target, ratio)} |")
    return lines


def _case_tables(result: dict[str, Any], tools: str) -> list[str]:
    lines = []
    for case, table in result["summary"][tools].items():
        lines += ["", f"### {CASES[case].about}", ""]
        lines += ["| | messages/s | Floodgate over it | last 250, messages/s | CPU, us per message | each repetition |"]
        lines += ["|---|---|---|---|---|---|"]
        for name, rate in table["rate"].items():
            each = ", ".join(
                f"{run['measured'][name]['rate']:,.0f}" if name in run["measured"] else "void"
                for run in result["runs"]
                if (run["tools"], run["case"]) == (tools, case)
            )
            cells = [shown(rate), shown(table["ratio"].get(name, {})), shown(table["intake_rate"][name])]
            lines.append(f"| {name} | {' | '.join(cells)} | {shown(table['cpu_us'].get(name, {}))} | {each} |")
    return lines


def _sync_line(result: dict[str, Any]) -> str:
    syncs = [run["fdatasync_ms"]["p50"] for run in result["runs"] if run["fdatasync_ms"]]
    return f"fdatasync of 4 KiB, median in ms before each round: {shown(spread(syncs))}."


def _difference(facts: dict[str, Any]) -> list[str]:
    """The lines of the holding configuration that the other has not."""
    usual = set(facts["configured"].splitlines())
    return ["```", *(line for line in facts["configured_to_hold"].splitlines() if line not in usual), "```"]
