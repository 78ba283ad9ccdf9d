"""The limit orders of a cluster, in memory."""

from collections.abc import Callable

from mta.model.limit_orders import LimitOrder
from mta.ports.limits import Edit, SharedOrders


class LimitOrders:
    """Fulfils ports.limits.LimitOrderStore."""

    def __init__(self) -> None:
        self.kept: dict[str, LimitOrder] = {}
        self._version = 0
        self._hooks: list[Callable[[], None]] = []

    async def orders(self, since: bytes = b"") -> SharedOrders | None:
        version = b"%d|" % self._version
        return None if version == since else SharedOrders(version, dict(self.kept))

    async def edit(self, order_id: str, edit: Edit) -> LimitOrder | None:
        made = edit(self.kept.get(order_id))
        if made is not None:
            self.kept[order_id] = made
            self._changed()
        return made

    async def remove(self, order: LimitOrder) -> bool:
        if self.kept.get(order.id) != order:
            return False
        del self.kept[order.id]
        self._changed()
        return True

    def on_change(self, hook: Callable[[], None]) -> None:
        self._hooks.append(hook)

    def _changed(self) -> None:
        self._version += 1
        for hook in self._hooks:
            hook()
