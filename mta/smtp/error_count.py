"""The error count of a session: a session with too many errors or useless commands is closed."""

_FREE_JUNK = 100  # commands that move no mail before each counts as an error


class ErrorCount:
    """Starts again from 0 when a message is accepted."""

    __slots__ = ("_junk", "_most", "errors")

    def __init__(self, most: int) -> None:
        self._most = most
        self.errors = 0
        self._junk = 0

    def add_error(self) -> bool:
        """Whether the session has had its last error now."""
        self.errors += 1
        return self.errors >= self._most

    def add_junk(self) -> bool:
        """As `add_error`, for a command that moves no mail; the first hundred are free."""
        self._junk += 1
        return self._junk > _FREE_JUNK and self.add_error()

    def forget(self) -> None:
        self.errors = self._junk = 0
