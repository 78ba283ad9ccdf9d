"""The keys of the cluster without their private parts, read anew as far as they have changed."""

from collections.abc import Mapping

from mta.model.dkim_keys import DkimKey
from mta.ports.dkim import DkimKeys


class KeyTable:
    """As of the last look."""

    def __init__(self, store: DkimKeys) -> None:
        self._store = store
        self._version = b""
        self._keys: dict[str, DkimKey] = {}

    async def look(self) -> Mapping[str, DkimKey]:
        """By id. Raises StoreError."""
        found = await self._store.changes(self._version)
        if found is not None:
            keys = {} if found.is_whole else self._keys.copy()
            for key_id in found.removed:
                keys.pop(key_id, None)
            for entry in found.keys:
                keys[entry.key.id] = entry.key
            self._keys, self._version = keys, found.version
        return self._keys
