"""How many errors and useless commands a session may have before it is closed."""

_FREE_JUNK = 100  # commands that move no mail before each counts as an error


class ErrorCount:
    """A message that was taken makes it begin anew."""

    __slots__ = ("_junk", "_most", "errors")

    def __init__(self, most: int) -> None:
        self._most = most
        self.errors = 0
        self._junk = 0

    def add_error(self) -> bool:
        """Whether it is full now."""
        self.errors += 1
        return self.errors >= self._most

    def add_junk(self) -> bool:
        """The same for a command that moves no mail."""
        self._junk += 1
        return self._junk > _FREE_JUNK and self.add_error()

    def forget(self) -> None:
        self.errors = self._junk = 0
