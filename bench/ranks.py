"""Ranks: what a set of measured times looks like, from its median to its largest."""

from collections.abc import Collection

_RANKS = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))


def percentiles(values: Collection[float], scale: float = 1.0) -> dict[str, float]:
    """Median, p90, p95, p99, p99.9 and the largest of `values`, times `scale`; empty when there is nothing to rank."""
    ranked = sorted(values)
    if not ranked:
        return {}
    last = len(ranked) - 1
    return {name: round(ranked[round(last * part)] * scale, 3) for name, part in _RANKS}


def shown(ranks: dict[str, float]) -> str:
    """One line for people."""
    return ", ".join(f"{name} {value:,}" for name, value in ranks.items()) or "nothing measured"
