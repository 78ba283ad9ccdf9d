"""An answer of the API as it is kept for repeats: sealed, since it may show a secret that is told once.

The key is made of the secret of the client's token and of the idempotency key, of which the store has hashes only. So
nobody opens the answer who could not have got it.
"""

import hashlib
import secrets
import zlib
from typing import Final

import msgspec
from msgspec import Struct

_NONCE: Final = 12
_ABOUT: Final = b"floodgate kept answer"


class KeptAnswer(Struct, array_like=True, frozen=True):
    """An answer that a client got."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(KeptAnswer).decode


def sealing_key(secret: bytes, idempotency_key: str) -> bytes:
    """`secret` is that of the token."""
    return hashlib.blake2b(idempotency_key.encode(), key=hashlib.sha256(secret).digest(), digest_size=32).digest()


def seal(answer: KeptAnswer, key: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, zlib.compress(_encode(answer), 1), _ABOUT)


def unseal(sealed: bytes, key: bytes) -> KeptAnswer | None:
    """None: it was sealed with another key, or is damaged."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return _decode(zlib.decompress(AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _ABOUT)))
    except InvalidTag:
        return None
