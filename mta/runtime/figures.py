"""The metrics of this process: the figures of its parts, told with each confirmation of the rules."""

from collections.abc import Callable, Mapping

Tell = Callable[[], Mapping[str, float]]


class Figures:
    """Parts join after the guard has been built, which tells the figures of all."""

    def __init__(self) -> None:
        self._parts: list[Tell] = []

    def join(self, part: Tell) -> None:
        self._parts.append(part)

    def __call__(self) -> Mapping[str, float]:
        """Named as in `model.process_metrics`."""
        found: dict[str, float] = {}
        for part in self._parts:
            found |= part()
        return found
