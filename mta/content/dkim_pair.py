"""DKIM key pairs: made, read from what an operator has, and used to sign a digest (RFC 8301, RFC 8463).

`cryptography` is imported where a key is used: most processes have none.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from mta.model.dkim_keys import Algorithm, NewPair
from mta.model.errors import BadValue

RSA_BITS: Final = 2048
_LEAST_BITS: Final = 1024  # RFC 8301 3.2
_MOST_BITS: Final = 4096  # a signature of more does not fit verifiers
_FIELD: Final = "private_key"
_HINT: Final = "give an RSA or Ed25519 key in PEM, or the base64 of an Ed25519 seed"

Sign = Callable[[bytes], bytes]  # a SHA-256 digest -> its signature


def make_pair(algorithm: Algorithm) -> NewPair:
    """A new key. One of RSA takes a tenth of a second, rarely a second."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    if algorithm is Algorithm.ED25519:
        return _pair(ed25519.Ed25519PrivateKey.generate(), algorithm)
    return _pair(rsa.generate_private_key(65537, RSA_BITS), algorithm)


def read_pair(text: str, algorithm: Algorithm) -> NewPair:
    """The key in `text`. Raises BadValue."""
    return _pair(_parsed(text), algorithm)


def signer(private: bytes) -> Sign:
    """Signs with the key (DER, PKCS #8). Raises ValueError: it is damaged."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils

    key = serialization.load_der_private_key(private, None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("neither RSA nor Ed25519")
    scheme, prehashed, sign = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()), key.sign
    return lambda digest: sign(digest, scheme, prehashed)


def _parsed(text: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        if "-----BEGIN" in text:
            return serialization.load_pem_private_key(text.strip().encode(), None)
        seed = base64.b64decode("".join(text.split()), validate=True)
        if len(seed) == 32:
            return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        return serialization.load_der_private_key(seed, None)
    except TypeError:
        raise BadValue(_FIELD, "is encrypted with a password; give it without one") from None
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise BadValue(_FIELD, f"is no private key; {_HINT}") from None


def _pair(key: Any, algorithm: Algorithm) -> NewPair:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    found = {rsa.RSAPrivateKey: Algorithm.RSA, ed25519.Ed25519PrivateKey: Algorithm.ED25519}
    kind = next((name for of, name in found.items() if isinstance(key, of)), None)
    if kind is None:
        raise BadValue(_FIELD, f"is neither RSA nor Ed25519; {_HINT}")
    if kind is not algorithm:
        raise BadValue(_FIELD, f"is a key for {kind}, and algorithm is {algorithm}; give algorithm: {kind}")
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key()
    if kind is Algorithm.ED25519:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return NewPair(private, base64.b64encode(raw).decode(), 256)
    bits = key.key_size
    if not _LEAST_BITS <= bits <= _MOST_BITS:
        raise BadValue(_FIELD, f"has {bits} bits; verifiers take {_LEAST_BITS} to {_MOST_BITS}")
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return NewPair(private, base64.b64encode(der).decode(), bits)
