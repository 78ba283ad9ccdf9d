"""DKIM keys as the cluster keeps them: one selector of one domain each (RFC 6376 3.6)."""

import base64
import enum
import hashlib
from typing import Final

import msgspec

PUBLISHED_FOR: Final = 7 * 86_400_000  # ms for which the record of a retired key must stay: its mail is on its way


class Algorithm(enum.StrEnum):
    """The key types of RFC 6376 and RFC 8463."""

    RSA = "rsa"
    ED25519 = "ed25519"

    @property
    def tag(self) -> str:
        """The value of `a=` in a signature."""
        return f"{self.value}-sha256"


class KeyState(enum.StrEnum):
    """A key signs while it is active."""

    PENDING = "pending"  # DNS has not shown its record yet
    ACTIVE = "active"
    RETIRED = "retired"  # another key took its place; its record must stay in DNS until `keep_until`


class DkimKey(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key without its private part; times are Unix milliseconds, 0 = not set."""

    id: str
    domain: str  # lower case, A-labels
    selector: str
    algorithm: Algorithm
    bits: int
    public: str  # base64, the value of `p=`
    state: KeyState = KeyState.PENDING
    tenant: str = ""  # signs the mail of this tenant only; "" = any mail
    replaces: str = ""  # id of the key that retires once this one is active
    created_at: int = 0
    created_by: str = ""
    active_at: int = 0
    retired_at: int = 0

    @property
    def name(self) -> str:
        """The name of its record in DNS."""
        return record_name(self.domain, self.selector)

    @property
    def record(self) -> str:
        """The text of its record in DNS."""
        return f"v=DKIM1; k={self.algorithm.value}; p={self.public}"

    @property
    def keep_until(self) -> int:
        """Until when the record of a retired key must stay in DNS."""
        return self.retired_at + PUBLISHED_FOR if self.state is KeyState.RETIRED else 0


class SealedKey(msgspec.Struct, frozen=True):
    """A key with its sealed private part (DER, PKCS #8)."""

    key: DkimKey
    sealed: bytes


class NewPair(msgspec.Struct, frozen=True):
    """A private key and its public part."""

    private: bytes  # DER, PKCS #8
    public: str  # base64, the value of `p=`
    bits: int


def record_name(domain: str, selector: str) -> str:
    return f"{selector}._domainkey.{domain}"


def key_id(domain: str, selector: str) -> str:
    """One for each selector of a domain."""
    digest = hashlib.sha256(record_name(domain, selector).encode()).digest()
    return base64.b32encode(digest[:10]).decode().lower()
