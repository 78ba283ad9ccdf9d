"""Links of tracked mail: sealed facts of a delivery, and signed addresses of other sites.

    <tracking.url>/o/<mail>.gif      the pixel that tells of an open
    <tracking.url>/c/<mail>/<link>   leads to the address in <link>, which nobody but a node can make
    <tracking.url>/u/<mail>          unsubscribes by POST

<mail> is a byte for the format, a nonce, and the output of AES-256-GCM: a reader learns neither address nor tags. That
of /u/ has a format of its own, so that the other links unsubscribe nobody. <link> is a keyed hash of <mail> and the
address, then the address. Both are written in base64 for URLs without padding.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mta.model.engagement import MOST_TAGS, TrackedMail

KEY_SIZE: Final = 32  # bytes
_FORMAT: Final = b"\x01"
_UNSUBSCRIBE: Final = b"\x02"
_NONCE: Final = 12
_MAC: Final = 12
_LONGEST_MAIL: Final = 2048  # characters
_LONGEST_LINK: Final = 8192

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(TrackedMail).decode


class TrackingLinks:
    """Makes links, and reads them."""

    def __init__(self, key: bytes, url: str) -> None:
        """`url` is `tracking.url`."""
        self._cipher = AESGCM(hashlib.blake2b(b"mail", key=key, digest_size=32).digest())
        self._link_key = hashlib.blake2b(b"link", key=key, digest_size=32).digest()
        self._url = url.rstrip("/")

    def mail(self, facts: TrackedMail) -> str:
        """The part of each link that stands for the delivery."""
        return self._sealed(facts, _FORMAT)

    def unsubscribe(self, facts: TrackedMail) -> str:
        return f"{self._url}/u/{self._sealed(facts, _UNSUBSCRIBE)}"

    def _sealed(self, facts: TrackedMail, form: bytes) -> str:
        if len(facts.tags) > MOST_TAGS:
            facts = msgspec.structs.replace(facts, tags=facts.tags[:MOST_TAGS])
        nonce = secrets.token_bytes(_NONCE)
        return _text(form + nonce + self._cipher.encrypt(nonce, _encode(facts), form))

    def pixel(self, mail: str) -> str:
        return f"{self._url}/o/{mail}.gif"

    def click(self, mail: str, address: str) -> str:
        raw = address.encode()
        return f"{self._url}/c/{mail}/{_text(self._mac(mail, raw) + raw)}"

    def is_own(self, address: str) -> bool:
        """Whether the address is one of the listener's: such a link stays as it is."""
        return address == self._url or address.startswith(f"{self._url}/")

    def read_mail(self, mail: str) -> TrackedMail | None:
        """None: no node made it."""
        return self._opened(mail, _FORMAT)

    def read_unsubscribe(self, mail: str) -> TrackedMail | None:
        """None: no node made it."""
        return self._opened(mail, _UNSUBSCRIBE)

    def _opened(self, mail: str, form: bytes) -> TrackedMail | None:
        raw = _bytes(mail) if len(mail) <= _LONGEST_MAIL else b""
        if raw[:1] != form:
            return None
        try:
            return _decode(self._cipher.decrypt(raw[1 : 1 + _NONCE], raw[1 + _NONCE :], form))
        except (InvalidTag, ValueError, msgspec.DecodeError):
            return None

    def read_link(self, mail: str, link: str) -> str | None:
        """The address; None: no node made the link for this mail."""
        raw = _bytes(link) if len(link) <= _LONGEST_LINK else b""
        mac, address = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._mac(mail, address)):
            return None
        return address.decode()

    def _mac(self, mail: str, address: bytes) -> bytes:
        return hashlib.blake2b(mail.encode() + b"\0" + address, key=self._link_key, digest_size=_MAC).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """b"": it is not base64."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
