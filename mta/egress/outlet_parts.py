"""The parts of egress that the outlets of a worker share."""

from collections.abc import Callable
from typing import NamedTuple

from mta.egress.connect import Connecting
from mta.egress.egress_ports import EgressPorts
from mta.egress.last_look import LastLook
from mta.egress.permit_counts import PermitCounts
from mta.egress.shared_connections import SharedConnections
from mta.egress.transaction_end import TransactionEnd
from mta.model.mail import QueueKey
from mta.model.settings import DeliverySettings


class OutletParts(NamedTuple):
    """The shared parts that an outlet gets. It passes each of its own parts those that the part needs."""

    ports: EgressPorts
    delivery: DeliverySettings
    connecting: Connecting
    end: TransactionEnd
    permits: PermitCounts
    last_look: LastLook
    shared: SharedConnections
    emptied: Callable[[QueueKey], None]  # hears of outlets whose last connection went to another one
