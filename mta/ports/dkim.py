"""DKIM keys: where they are kept, the mail that they sign, and the records that DNS shows of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from mta.model.dkim_keys import DkimKey, SealedKey
from mta.model.outcomes import Reply


class KeyChanges(NamedTuple):
    """The keys that were put or removed after a version of the table."""

    version: bytes
    keys: Sequence[SealedKey]
    removed: Sequence[str]  # ids
    is_whole: bool  # `keys` are all there are


class RecordLook(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of DNS about the record of a key."""

    shows: bool
    text: str  # for people
    at: int  # Unix ms


class DkimKeys(Protocol):
    """The keys of the cluster. Raises StoreAway, StoreError."""

    async def changes(self, since: bytes) -> KeyChanges | None:
        """The changes after the version `since`, b"" = all keys; None: there are none."""
        ...

    async def get(self, key_id: str) -> SealedKey | None: ...

    async def put(self, entry: SealedKey, was: SealedKey | None) -> bool:
        """Keep it in place of `was`; None: a new one. False: another change came first. Raises BadValue: there are too
        many."""
        ...

    async def remove(self, key_id: str) -> None:
        """Nothing happens where there is none."""
        ...

    def on_change(self, hook: Callable[[], None]) -> None:
        """Hints, which may be lost: a key was put or removed."""
        ...


class RecordLooks(Protocol):
    """The last look at the record of each key, and the turn to look. Raises StoreAway, StoreError."""

    async def lead(self, owner: str, seconds: float) -> bool:
        """Whether `owner` looks, for so long at least; another process may not meanwhile."""
        ...

    async def note(self, key_id: str, look: RecordLook) -> None: ...

    async def looks(self) -> dict[str, RecordLook]:
        """By id of the key."""
        ...

    async def forget(self, key_id: str) -> None: ...


class Unsigned(NamedTuple):
    """A message before it is signed."""

    header: bytes  # with the CRLF of its last line
    rest: bytes | memoryview  # from the empty line on, b"" = there is none
    tenant: str
    tenant_domain: str  # that signs mail of the tenant whose own domain has no key, "" = none


class Signed(NamedTuple):
    """A message with its signatures. Header and rest may have been made 7-bit."""

    signatures: bytes  # fields to be put above the header, b"" = none
    header: bytes
    rest: bytes | memoryview


class SignMail(Protocol):
    """Signs mail before it is accepted. Synchronous."""

    @property
    def is_on(self) -> bool:
        """False: no message is signed or refused at present."""
        ...

    def would_sign(self, mail: Unsigned) -> bool:
        """Whether the message would get a signature now. Any thread may call."""
        ...

    def sign(self, mail: Unsigned, done: Callable[[Signed | Reply], None]) -> Signed | Reply | None:
        """The signed message, or the reply that refuses it; None: `done` is called with it later, once."""
        ...


class SignBeside(Protocol):
    """Signs digests beside the event loop, for keys whose arithmetic takes long. Synchronous."""

    def sign(self, private: bytes, digest: bytes, done: Callable[[bytes | None], None]) -> None:
        """Call `done` once with the signature of a SHA-256 digest by a key (DER, PKCS #8). None: this cannot be done at
        present, so the caller signs."""
        ...


class KeyOrders(Protocol):
    """Orders about keys, as people give them. Raises StoreError, SealError, BadValue."""

    async def keys(self) -> Sequence[DkimKey]:
        """By domain and selector."""
        ...

    async def key(self, key_id: str) -> DkimKey | None: ...

    async def looks(self) -> dict[str, RecordLook]: ...

    async def add(self, wanted: DkimKey, private_key: str) -> DkimKey | None:
        """Make a key like `wanted`, from the text of a private key where one is given. None: the domain has a key with
        this selector."""
        ...

    async def remove(self, key: DkimKey) -> None: ...

    async def look(self, key: DkimKey) -> tuple[DkimKey, RecordLook]:
        """Ask DNS for its record now; a pending key that is shown becomes active."""
        ...
