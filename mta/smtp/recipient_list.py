"""The recipients of one transaction in the order of their RCPT, without repeats and with a limit."""


class RecipientList:
    """Emptied for each transaction."""

    __slots__ = ("_most", "_named", "mailboxes")

    def __init__(self, most: int) -> None:
        self._most = most
        self.mailboxes: list[str] = []
        self._named: set[str] = set()  # as they compare; empty while there are fewer than two

    def __len__(self) -> int:
        return len(self.mailboxes)

    def add(self, mailbox: str) -> bool:
        """Add a mailbox unless the list has it (a client may name it in To and in Cc). False: the list is full."""
        mailboxes = self.mailboxes
        if mailboxes:
            named = self._named
            if not named:
                named.add(compared(mailboxes[0]))
            key = compared(mailbox)
            if key in named:
                return True
            if len(mailboxes) >= self._most:
                return False
            named.add(key)
        mailboxes.append(mailbox)
        return True

    def clear(self) -> None:
        if self.mailboxes:
            self.mailboxes = []
            self._named.clear()


def compared(mailbox: str) -> str:
    """The key by which mailboxes compare: domains without case, local parts exactly (RFC 5321 2.4)."""
    local, _, domain = mailbox.rpartition("@")
    return f"{local}@{domain.lower()}"
