"""API tokens in `{meta}`: their SHA-256, never their text."""

import secrets
from functools import partial
from typing import Final

import msgspec

from mta.model.api_tokens import ApiToken, digest_of
from mta.model.errors import BadValue
from mta.ports.access import StoredToken, TokenTable
from mta.ports.certainty import made_certain
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

_MOST: Final = 10_000
_SIZE: Final = 32  # bytes of a digest
_VERSION: Final = b"version"
_ADMIN: Final = b"admin:"

_decoder = msgspec.msgpack.Decoder(ApiToken)


class StoredTokens:
    """Fulfils ports.access.Tokens."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def version(self) -> bytes:
        return await self._link.command("HGET", keys.META_TOKENS, _VERSION) or b""

    async def load(self) -> TokenTable:
        answer = await self._link.command("HGETALL", keys.META_TOKENS)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        version = fields.pop(_VERSION, b"")
        admin = tuple(raw for name, raw in fields.items() if name.startswith(_ADMIN))
        tokens = {
            name.decode(): StoredToken(_decoder.decode(raw[_SIZE:]), raw[:_SIZE])
            for name, raw in fields.items()
            if not name.startswith(_ADMIN)
        }
        return TokenTable(version, admin, tokens)

    async def put(self, token: ApiToken, digest: bytes) -> None:
        if not await self._put(token.id, digest + codec.encode(token), _MOST):
            raise BadValue("name", f"there are {_MOST} tokens already; revoke some")

    async def put_admin(self, node: str, secret: str) -> None:
        """The administrator's token of a node."""
        await self._put(_ADMIN.decode() + node, digest_of(secret.encode()), 2 * _MOST)

    async def _put(self, field: str, value: bytes, most: int) -> bool:
        ask = partial(
            self._link.call_kept, b"token_put", [keys.META_TOKENS], [field, value, most, secrets.token_bytes(8)]
        )
        return bool(await made_certain(ask, ask, self._link.timeout))

    async def remove(self, token_id: str) -> None:
        ask = partial(self._link.call_kept, b"token_remove", [keys.META_TOKENS], [token_id, secrets.token_bytes(8)])
        await made_certain(ask, ask, self._link.timeout)
