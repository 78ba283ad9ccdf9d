"""Plots: figures over time, or over anything else, as small PNG files beside the result that they belong to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.progress import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT, _DPI = 9.0, 3.2, 90  # inches, of one panel; a file of two panels stays below 60 KB
_COLOURS = ("#1f5fa8", "#d1622b", "#3b8f4f", "#8a56ac", "#7a6a5a", "#c23b6b")

Series = Sequence[tuple[float, float]]


def curve(
    path: Path, title: str, x_label: str, series: Mapping[str, Series], y_label: str = "", log_x: bool = False
) -> bool:
    """One line for each of the named series; False, said, where nothing can draw."""
    return _draw(path, title, [(y_label, series)], x_label, log_x)


def flow(path: Path, title: str, over_time: Mapping[str, Sequence[float]]) -> bool:
    """Rates of a flow by the second, above what waited meanwhile: in queues, and for the journal."""
    rates = {
        "received/s": _whole_seconds(over_time["received"]),
        "intake/s": _whole_seconds(over_time["intake"]),
    }
    waiting = {
        "queued deliveries": list(zip(over_time["at"], over_time["queued"], strict=True)),
        "entries that the journal has not written": list(
            zip(over_time["at"], over_time["journal_backlog"], strict=True)
        ),
    }
    return _draw(path, title, [("messages/s", rates), ("waiting", waiting)], "s since the first MAIL", False)


def _whole_seconds(counts: Sequence[float]) -> Series:
    """Each second in its middle; the last one, seldom whole, is left out unless it is the only one."""
    whole = counts[:-1] if len(counts) > 1 else counts
    return [(second + 0.5, count) for second, count in enumerate(whole)]


def _draw(path: Path, title: str, panels: Sequence[tuple[str, Mapping[str, Series]]], x_label: str, log: bool) -> bool:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        say(f"no plot {path.name}: matplotlib is not installed")
        return False
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(panels)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10, wrap=True)
    rows: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for (axes,), (y_label, series) in zip(rows, panels, strict=True):
        _panel(axes, y_label, series, log)
    rows[-1][0].set_xlabel(x_label)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": ""})
    return True


def _panel(axes: "Axes", y_label: str, series: Mapping[str, Series], log: bool) -> None:
    for colour, (name, points) in zip(_COLOURS, series.items(), strict=False):
        few = len(points) <= 40
        axes.plot(*_columns(points), label=name, color=colour, linewidth=1.4, marker="o" if few else "", markersize=3)
    axes.set_ylabel(y_label)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    if log:
        axes.set_xscale("symlog")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(True, linewidth=0.4, alpha=0.6)
    axes.legend(fontsize=8, frameon=False)


def _columns(points: Series) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
