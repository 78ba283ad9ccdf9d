"""Idempotent calls as acceptance sees them: parts that are to run once, and calls that the store knows already."""

import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from mta.model.idempotency import IdempotencyKey
from mta.model.ids import MessageId


class KeepMode(enum.Enum):
    """Whether the accept step keeps the key of a part."""

    LOOK = 0  # no: nothing of the call is accepted; a call that is known must be answered all the same
    KEEP = 1
    NO_ROOM = 2  # no new one; a call that is known goes on


class CallPart(NamedTuple):
    """A part of an idempotent call: the messages that one accept step takes of it."""

    key: IdempotencyKey
    first: MessageId  # of the call; the ids of its other messages follow
    begin: int  # messages of the call before this part
    messages: int  # of this part, refused ones included
    total: int  # messages of the call
    keep_ms: int  # how long the key is kept from now on
    keep: KeepMode = KeepMode.KEEP
    note: bytes = b""  # of the first part: kept for whoever goes on with the call
    differences: bytes = b""  # what the answer to the call says of this part besides ids


class KeptCall(NamedTuple):
    """A call that the store knows."""

    content: bytes  # hash, see IdempotencyKey
    first: MessageId
    total: int
    done: int  # messages
    owner: str  # session that works on it, "" = nobody does
    owner_lives: bool
    note: bytes
    differences: bytes  # of all parts, one behind the other

    @property
    def is_complete(self) -> bool:
        return self.done >= self.total


class KnownCalls(NamedTuple):
    """The answer to a batch of which some calls may not run: nothing was stored.

    By the place of the part among those of the batch; None: there was no room for a new key, or a part goes on with a
    call whose key is gone."""

    calls: Mapping[int, KeptCall | None]


# Called instead of the answers to the messages of a part that may not run; see KnownCalls for None.
Known = Callable[[KeptCall | None], None]


class OncePart(NamedTuple):
    """A part that acceptance is asked to run once, and the call for the case that it may not run."""

    part: CallPart
    known: Known


class KeyTrouble(enum.Enum):
    """Why a call with a key gets no answer of its own."""

    UNDER_WAY = "another call with this idempotency key is under way; ask again in a moment"
    OTHER_CONTENT = "another call came with this idempotency key; give each call its own key"
    NO_ROOM = "too many idempotency keys are kept (messages.idempotency_memory); try again later or without a key"
    UNKNOWN = "it is not known whether the mail was accepted; repeat the call with its key"
    STOPPED = "some of the mail was accepted, then the call stopped; repeat it with its key, and it goes on"


class KeyRefusal(Exception):
    """A call with a key is not accepted now."""

    def __init__(self, trouble: KeyTrouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


class CallKeys(Protocol):
    """Calls with a key in the store. Raises StoreAway, StoreError."""

    async def look(self, key: IdempotencyKey) -> KeptCall | None:
        """The call that stands under the key; None: there is none. It does not say whether its owner lives."""
        ...

    async def take(self, key: IdempotencyKey) -> tuple[KeptCall | None, bool]:
        """The call, and whether this session is to go on with it: it is not complete, and no living session works on
        it. None: the key is gone."""
        ...

    async def leave(self, key: IdempotencyKey) -> None:
        """This session goes on with the call no more; any other may."""
        ...
