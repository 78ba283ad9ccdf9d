"""API tokens: their text, which is shown once, and what the cluster keeps of one."""

import hashlib
import re
import secrets
from typing import Final, NamedTuple

import msgspec

from mta.model.scopes import Scope

# `fg_<id>.<secret>`: the id finds the token. The secret has 256 random bits, so one pass of SHA-256 guards it (S: A1).
_TEXT: Final = re.compile(rb"fg_([0-9a-f]{12})\.[A-Za-z0-9_-]{43}")
_KNOWN: Final = frozenset(scope.value for scope in Scope)


class ApiToken(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A token without its secret; times are Unix milliseconds, 0 = not set."""

    id: str
    name: str  # for people; several tokens may have one name
    scopes: tuple[str, ...]  # a node of another release may know other ones
    tenant: str = ""  # "" = it is bound to none
    created_at: int = 0
    created_by: str = ""
    expires_at: int = 0
    simulate: bool = False  # all mail that is handed in with it goes to the simulation

    @property
    def rights(self) -> frozenset[Scope]:
        """The scopes that this release knows."""
        return frozenset(Scope(scope) for scope in self.scopes if scope in _KNOWN)

    def has_expired(self, now: int) -> bool:
        """`now` is Unix ms."""
        return 0 < self.expires_at <= now


class NewSecret(NamedTuple):
    """The text of a new token, and what is kept of it."""

    id: str
    text: str
    digest: bytes


def new_secret() -> NewSecret:
    token_id = secrets.token_hex(6)
    text = f"fg_{token_id}.{secrets.token_urlsafe(32)}"
    return NewSecret(token_id, text, digest_of(text.encode()))


def digest_of(text: bytes) -> bytes:
    """The SHA-256 of the whole text of a token."""
    return hashlib.sha256(text).digest()


def id_in(text: bytes) -> str:
    """The id in the text of a token; "" for any other text, such as the administrator's token."""
    found = _TEXT.fullmatch(text)
    return found[1].decode() if found else ""
