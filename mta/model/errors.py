"""The errors of Floodgate itself. A refusal by a remote server is a value (`Reply`) and never an error."""

import errno
from typing import Final

_DEBUG: Final = 10  # levels of the logging module
_WARNING: Final = 30


class FloodgateError(Exception):
    """The root of every error that Floodgate raises itself."""


class BadValue(FloodgateError, ValueError):
    """A value from outside that is refused, with its field, the reason and the fix."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class BadRendering(FloodgateError):
    """A template gives no mail with the data of a recipient: the part of the mail, the reason, and the name that has no
    value, where that is the reason."""

    def __init__(self, part: str, reason: str, variable: str = "") -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason
        self.variable = variable


class SettingsError(FloodgateError):
    """Settings that cannot be run with: each fault names file, key and reason; the message has one a line."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class StoreError(FloodgateError):
    """The store gave no usable answer; it may or may not have carried out the call."""


class StoreAway(StoreError):
    """The store cannot be reached or did not answer in time."""


class StoreDenied(StoreAway):
    """The server refuses the user or the password; it may know them later, so it is away until then."""


class StoreForeign(StoreAway):
    """The server at the address does not speak the Redis protocol; one that does may answer later."""


class StoreUnreached(StoreAway):
    """No connection to the store could be made: the store has not carried out the call."""


class StoreRefuses(StoreAway):
    """The server takes no writes at present (it is a replica, loads its data, or cannot write its file): it has not
    carried out the call."""


class StoreLoading(StoreRefuses):
    """The server answers, and is still reading its data from disk."""


class OutcomeUnknown(StoreAway):
    """An order was sent, and the store did not answer in time whether it carried it out."""


class OrderMade(StoreError):
    """The store carried out an order, but its effect cannot be read."""

    def __init__(self, rule: str, error: Exception) -> None:
        super().__init__(f"the order was made (rule {rule}); its effect cannot be read now: {error}")


class StoreFull(StoreError):
    """The store refuses to grow (maxmemory): nothing was written. SMTP: 452 4.3.1."""


class StoreUnsafe(StoreError):
    """The store runs with settings that can lose accepted mail; the message names them and, in a cluster, the servers.
    `named` does without the servers, for those who may not know them."""

    def __init__(self, problems: str, named: str = "") -> None:
        super().__init__(problems)
        self.named = named or problems


class BacklogFull(StoreError):
    """The journal is too far behind for more mail to be taken. SMTP: 452 4.3.1."""


class SessionLost(StoreError):
    """Other processes took this process for dead; they have its claims now."""


class HistoryError(FloodgateError):
    """History gives no answer."""


class HistoryOff(HistoryError):
    """The node keeps no history (history.url = "")."""

    def __init__(self) -> None:
        super().__init__('history is off: history.url = "" in the settings of this node')


class HistoryElsewhere(HistoryError):
    """Another node has the history, in files (history.url = "sqlite")."""

    def __init__(self, node: str) -> None:
        super().__init__(f'node {node} holds the history (history.url = "sqlite"): ask its API')
        self.node = node


class HistoryAway(HistoryError):
    """The database of the history cannot be reached, or did not answer in time."""


class HistoryNotBegun(HistoryAway):
    """No journal has written to the history yet: nothing is in it."""


class SealError(FloodgateError):
    """A secret of the cluster can be neither sealed nor opened on this node; the message says how to mend that."""


class UnreadableRule(StoreError):
    """A rule in the store has a field or a value that this release does not know, or is damaged: none of it is read."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"rule {rule} was made by a newer release, or is damaged, and cannot be read here: {reason}")
        self.rule = rule


class OldReaders(FloodgateError):
    """A rule needs a newer release than some living processes run; nothing was written. The message names them."""

    def __init__(self, processes: list[str]) -> None:
        names = ", ".join(processes)
        super().__init__(f"the rule has fields that older processes cannot read: {names}; upgrade or stop them first")


def reason_of(error: StoreError) -> str:
    """Why the store cannot be worked with, for those who may not know its address: clients and open answers."""
    if isinstance(error, StoreUnsafe):
        return f"the store is unsafe: {error.named}"
    if isinstance(error, StoreDenied):
        return "the store refuses the password"
    if isinstance(error, StoreForeign):
        return "the server in redis.url does not speak the Redis protocol"
    if isinstance(error, StoreRefuses):
        return f"the store takes no writes: {error}"
    return "the store is away" if isinstance(error, StoreAway) else "the store cannot be used"


def severity(error: BaseException) -> int:
    """The level at which a part of a process logs that it waits. The supervisor says once for the whole node that the
    store is away, or that a folder is full; its parts repeat that at the debug level only."""
    told = isinstance(error, StoreAway) or (isinstance(error, OSError) and error.errno == errno.ENOSPC)
    return _DEBUG if told else _WARNING
