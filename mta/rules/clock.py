"""The clocks of the rule protocol."""

from mta.timing.clock import boottime, wall_ms

__all__ = ["boottime", "wall_ms"]
