"""Signatures of webhooks (Standard Webhooks 1.0): HMAC-SHA256 over the id, the time and the body."""

import base64
import functools
import hmac
from binascii import b2a_base64
from collections.abc import Iterable
from typing import Final

_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def secret_text(secret: bytes) -> str:
    """The text that a receiver verifies with."""
    return _PREFIX + base64.b64encode(secret).decode()


def signed_headers(secrets: Iterable[bytes], event_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a request; `at` is Unix seconds. Each secret makes one signature."""
    time = str(at)
    text = f"{event_id}.{time}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": time,
        "webhook-signature": " ".join([_signature(secret, text) for secret in secrets]),
        "content-type": "application/json",
    }


def _signature(secret: bytes, text: bytes) -> str:
    keyed = _keyed(secret).copy()
    keyed.update(text)
    return "v1," + b2a_base64(keyed.digest(), newline=False).decode()


@functools.lru_cache(maxsize=1024)
def _keyed(secret: bytes) -> hmac.HMAC:
    """To hash the key for each request takes half of the time."""
    return hmac.new(secret, digestmod="sha256")
