"""Limit orders in `{meta}`."""

import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from mta.model.errors import BadValue
from mta.model.limit_orders import LimitOrder
from mta.ports.certainty import made_certain
from mta.ports.limits import Edit, SharedOrders
from mta.redis_store import keys
from mta.redis_store.link import Link

log = logging.getLogger(__name__)

_MOST: Final = 10_000
_TRIES: Final = 5  # of a change while others change the same order
_VERSION: Final = b"version"
_TABLE: Final = (keys.META_LIMIT_ORDERS, keys.META_LIMIT_ORDERS_CHANGES)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(LimitOrder).decode


class StoredLimitOrders:
    """Fulfils ports.limits.LimitOrderStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def orders(self, since: bytes = b"") -> SharedOrders | None:
        version: bytes = await self._link.command("HGET", keys.META_LIMIT_ORDERS, _VERSION) or b"0|"
        if version == since:
            return None
        answer = await self._link.command("HGETALL", keys.META_LIMIT_ORDERS)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        version = fields.pop(_VERSION, b"0|")
        found: dict[str, LimitOrder] = {}
        for name, raw in fields.items():
            try:
                found[name.decode()] = _decode(raw)
            except msgspec.DecodeError as error:
                log.error("the limit order %s cannot be read and is not in force here: %s", name.decode(), error)
        return SharedOrders(version, found)

    async def edit(self, order_id: str, edit: Edit) -> LimitOrder | None:
        for _ in range(_TRIES):
            was = await self._link.command("HGET", keys.META_LIMIT_ORDERS, order_id) or b""
            made = edit(_decode(was) if was else None)
            if made is None:
                return None
            args: list[bytes | str | int] = [order_id, _encode(made), was, _MOST, secrets.token_hex(8)]
            ask = partial(self._link.call_kept, b"entry_put", _TABLE, args)
            done = await made_certain(ask, ask, self._link.timeout)
            if done < 0:
                raise BadValue("site", f"there are {_MOST} limit orders already; remove some")
            if done:
                return made
        raise BadValue("site", "others change the same limit order; try again")

    async def remove(self, order: LimitOrder) -> bool:
        args: list[bytes | str | int] = [order.id, secrets.token_hex(8), _encode(order)]
        ask = partial(self._link.call_kept, b"entry_remove", _TABLE, args)
        return bool(await made_certain(ask, ask, self._link.timeout))

    def on_change(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.ENTRY_CHANNEL, lambda table: hook() if table == keys.META_LIMIT_ORDERS else None)
        self._link.on_reconnect(hook)
