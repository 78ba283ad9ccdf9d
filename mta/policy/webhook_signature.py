"""Signatures of webhooks (Standard Webhooks 1.0): HMAC-SHA256 over the id, the time and the body."""

import base64
import functools
import hmac
from collections.abc import Iterable
from typing import Final

_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def secret_text(secret: bytes) -> str:
    """The text that a receiver verifies with."""
    return _PREFIX + base64.b64encode(secret).decode()


def signed_headers(secrets: Iterable[bytes], event_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a request; `at` is Unix seconds. Each secret makes one signature."""
    text = b"%b.%d.%b" % (event_id.encode(), at, body)
    signatures = [b"v1," + base64.b64encode(_digest(secret, text)) for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": b" ".join(signatures).decode(),
        "content-type": "application/json",
    }


def _digest(secret: bytes, text: bytes) -> bytes:
    keyed = _keyed(secret).copy()
    keyed.update(text)
    return keyed.digest()


@functools.lru_cache(maxsize=1024)
def _keyed(secret: bytes) -> hmac.HMAC:
    """To hash the key for each request takes half of the time."""
    return hmac.new(secret, digestmod="sha256")
