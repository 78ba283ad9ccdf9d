"""Back-off: the pauses between the tries of something that keeps failing."""


class Backoff:
    """The first pause after a success is `first` seconds; each further one is twice as long, up to `last` seconds."""

    __slots__ = ("_first", "_last", "pause")

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self.pause = 0.0  # seconds, after the last failure; 0 = the last try succeeded, or there was none

    def failed(self) -> float:
        """The seconds to wait before the next try."""
        self.pause = min(self._last, self.pause * 2 or self._first)
        return self.pause

    def succeeded(self) -> None:
        self.pause = 0.0

    def restart(self) -> None:
        """The next try waits as after a first failure."""
        self.pause = self._first
