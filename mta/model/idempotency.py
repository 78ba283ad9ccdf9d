"""Idempotency keys: the name under which a call is kept, and a hash of what was handed in.

The name holds the key as the client chose it and its scope, so that clients of two scopes never meet.
"""

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from mta.model.errors import BadValue

NAME_BYTES: Final = 12
CONTENT_BYTES: Final = 8  # two contents under one key are the client's own, so nobody gains by making them collide
LONGEST: Final = 255  # characters of a key

TOKEN: Final = "token"  # the scope of a token; its id follows
TRUSTED_NETWORKS: Final = "smtp"  # the scope of all clients of trusted networks


class IdempotencyKey(NamedTuple):
    """The key of a call that must be accepted once only."""

    name: bytes  # hash of scope and key
    content: bytes  # hash of everything that was handed in

    def lane(self, lanes: int) -> int:
        """The lane of its call's messages."""
        return int.from_bytes(self.name[:4], "big") % lanes


def idempotency_key(scope: Iterable[str], key: str, content: Iterable[bytes]) -> IdempotencyKey:
    """`scope`: the client, and the tenant that it names. `content`: the parts of the call, in order."""
    hashed = hashlib.blake2b(digest_size=CONTENT_BYTES)
    for part in content:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    name = "\0".join((*scope, key)).encode()
    return IdempotencyKey(hashlib.blake2b(name, digest_size=NAME_BYTES).digest(), hashed.digest())


def check_key(key: str, field: str) -> str:
    """Raises BadValue that names `field`."""
    if not key or len(key) > LONGEST or not (key.isascii() and key.isprintable()):
        raise BadValue(
            field, f"is not an idempotency key: 1 to {LONGEST} printable ASCII characters, a UUID for example"
        )
    return key
