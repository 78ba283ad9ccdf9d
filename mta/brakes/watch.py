"""The brake watch of a worker: it follows the brakes of the cluster, so that outcomes are counted for them."""

import logging
from collections.abc import Mapping

from mta.model.brakes import Brake
from mta.model.errors import StoreError, severity
from mta.model.process_metrics import BRAKES
from mta.policy.brakes import Watched
from mta.ports.brakes import BrakeStore
from mta.timing.alarm import Alarm
from mta.timing.follow import follow

log = logging.getLogger(__name__)


class BrakeWatch:
    """The brakes as this process knows them."""

    def __init__(self, store: BrakeStore, lanes: int) -> None:
        self.brakes: Mapping[str, Brake] = {}  # by id
        self.watched = Watched()
        self._store = store
        self._lanes = lanes
        self._version = b"0|"
        self._alarm = Alarm()
        store.on_change(self._alarm.ring)

    async def run(self) -> None:
        """Until cancelled."""
        await follow(self.look, self._alarm, StoreError, _tell)

    def metrics(self) -> dict[str, float]:
        """The number of brakes."""
        return {BRAKES.key: float(len(self.brakes))} if self.brakes else {}

    async def look(self) -> None:
        """Take over the brakes of the store. Raises StoreError."""
        found = await self._store.brakes(self._version)
        if found is not None:
            self.brakes = found.brakes
            self.watched = Watched(found.brakes.values(), self._lanes)
            self._version = found.version


def _tell(error: StoreError) -> None:
    log.log(severity(error), "the brakes of the cluster cannot be read: %s", error)
