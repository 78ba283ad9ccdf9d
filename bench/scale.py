"""The command `scale`: how rate, latency, CPU and memory grow, one curve for each thing that there may be more of."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from bench import machine, report, scale_page
from bench.command import Command, data_root, opening, positive, result_options
from bench.processes import RunVoid
from bench.progress import say
from bench.rig import directory
from bench.scale_curves import CURVES, Curve
from bench.scale_fleet import Shape
from bench.scale_point import Point, measure

_ABOUT = (
    "How rate, latency, CPU and memory grow with workers, nodes, masters, lanes, sessions, domains, rules and backlog."
)


def _name(text: str) -> str:
    if text not in CURVES:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(CURVES)}")
    return text


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("curves", nargs="*", metavar="CURVE", type=_name, help=f"{', '.join(CURVES)}; all unless given")
    parser.add_argument("--messages", type=positive, default=10_000, help="of a point")
    parser.add_argument("--size", type=positive, default=4096, help="bytes of a relayed message, headers included")
    parser.add_argument("--sessions", type=positive, default=40, help="SMTP sessions of the source, but for theirs")
    parser.add_argument("--domains", type=positive, default=5, help="recipient domains, but for their curve")
    parser.add_argument("--orders", type=positive, default=30, help="of the curves nodes and masters")
    parser.add_argument("--most-domains", type=positive, default=100_000, help="leaves out what is beyond")
    parser.add_argument("--most-rules", type=positive, default=100_000, help="the same; they are created one by one")
    parser.add_argument("--most-waiting", type=positive, default=1_000_000, help="the same")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the nodes")
    result_options(parser, "scale", 2)


def _main(given: argparse.Namespace) -> int:
    root = data_root(given.data_dir)
    curves: dict[str, Any] = {}
    page: Path | None = None
    with directory(root) as place:
        result = opening(given.name, root) | {
            "command": "scale",
            "load": {name: getattr(given, name) for name in ("messages", "size", "sessions", "domains", "repeat")},
            "settings": given.set,
            "fdatasync_ms": machine.sync_latency(place),
            "curves": curves,
        }
        for name in given.curves or CURVES:
            curves[name] = _curve(CURVES[name], given, place)
            page = _write(given, result, page)
    if page:
        for plot in scale_page.plots_of(result, page.with_suffix("")):
            say(str(plot))
        say(str(page))
    return 1 if any(curve["void"] for curve in curves.values()) else 0


def _write(given: argparse.Namespace, result: dict[str, Any], page: Path | None) -> Path:
    """The result so far, over that of the curves before: a run that is cut short has measured something, too."""
    text = report.as_json(result)
    if given.json:
        given.json.write_text(text)
    if page is None:
        return report.write(given.results, f"{result['date'][:10]}-{given.name}", result, scale_page.as_page(result))
    page.write_text(scale_page.as_page(result))
    page.with_suffix(".json").write_text(text)
    return page


def _curve(curve: Curve, given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Its points, round by round, so that the machine's moods meet all of them alike."""
    shapes = curve.shapes(given, machine.facts()["cores"])
    runs: dict[float, list[Point]] = {shape.x: [] for shape in shapes}
    void: list[str] = []
    for number in range(1, given.repeat + 1):
        for shape in shapes:
            say(f"{curve.name} {shape.x:,}, round {number} of {given.repeat}")
            folder = place / f"{curve.name}-{shape.x:.0f}"
            try:
                runs[shape.x].append(measure(folder, shape, say))
            except RunVoid as error:
                void.append(f"{curve.name} {shape.x:,.0f}, round {number}: {error}")
                say(f"VOID: {void[-1]}")
            if not _filled(shape):
                shutil.rmtree(folder, ignore_errors=True)
    for shape in shapes:
        shutil.rmtree(place / f"{curve.name}-{shape.x:.0f}", ignore_errors=True)
    return {
        "title": curve.title,
        "x_label": curve.x_label,
        "log_x": curve.log_x,
        "points": [{"x": x, "runs": found} for x, found in runs.items() if found],
        "void": void,
    }


def _filled(shape: Shape) -> bool:
    """Whether the next round goes on with what this one made."""
    return bool(shape.rules or shape.waiting)


COMMAND = Command("scale", _ABOUT, "60 minutes", _options, _main)
