"""Secrets of the cluster, sealed with a key that each node has in a file of its data folder.

A sealed secret is a byte for the format, a nonce, and the output of AES-256-GCM, which also covers the words that say
what the secret belongs to. The key is made when the first secret is sealed. The store has its fingerprint from then on,
so that no second key can come into use.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mta.model.errors import SealError

FILE: Final = "cluster.key"
_SIZE: Final = 32  # bytes of the key
_NONCE: Final = 12
_FORMAT: Final = b"\x01"

Claim = Callable[[str], Awaitable[str]]  # keeps a fingerprint if the store has none; the one that it has


class ClusterKey:
    """Fulfils ports.secrets.Sealer."""

    def __init__(self, folder: str, claim: Claim) -> None:
        """`folder` is `node.data_dir`."""
        self._path = Path(folder) / FILE
        self._claim = claim
        self._key: bytes | None = None
        self._making = asyncio.Lock()

    async def seal(self, secret: bytes, about: str) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        async with self._making:
            key = await self._certain_key()
        nonce = secrets.token_bytes(_NONCE)
        return _FORMAT + nonce + AESGCM(key).encrypt(nonce, secret, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._key or _read(self._path)
        if key is None:
            raise SealError(f"{self._path} is missing; copy it from a node of the cluster that has it")
        if sealed[:1] != _FORMAT:
            raise SealError(f"the secret {about} was sealed by a newer release, or is damaged")
        try:
            opened = AESGCM(key).decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], about.encode())
        except InvalidTag:
            self._key = None  # another file may be copied there
            raise SealError(
                f"{self._path} does not open the secret {about}; copy the file from a node of the cluster where it does"
            ) from None
        self._key = key
        return opened

    async def _certain_key(self) -> bytes:
        """The key of the cluster, which is made where there is none. A new key becomes the file only after the store
        has its fingerprint; a node that was killed between finds it in the unfinished file."""
        unfinished = self._path.with_suffix(".new")
        key = _read(self._path)
        fresh = None if key is not None else _read(unfinished) or _write(unfinished)
        found = key or fresh
        assert found is not None
        stored = await self._claim(_fingerprint(found))
        if stored != _fingerprint(found):
            if key is None:
                unfinished.unlink(missing_ok=True)
                raise SealError(f"{self._path} is missing; copy it from a node of the cluster that has it")
            raise SealError(f"{self._path} is the key of another cluster; copy the file from a node of this one")
        if key is None:
            unfinished.rename(self._path)
        self._key = found
        return found


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"floodgate cluster key" + key).hexdigest()[:32]


def _read(path: Path) -> bytes | None:
    """None: there is no such file. Raises SealError."""
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SealError(f"{path}: {error.strerror}; let the node's user read it") from None
    except binascii.Error:
        key = b""
    if len(key) != _SIZE:
        raise SealError(f"{path} holds no key; copy the file from a node of the cluster")
    return key


def _write(path: Path) -> bytes:
    """A new key in a file for the node's user alone, on the disk. Raises SealError."""
    key = secrets.token_bytes(_SIZE)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SealError(f"{path}: {error.strerror}; let the node's user write it") from None
    return key
