"""The operations about processes and the store."""

from control_api.http.operation import Group
from control_api.node import health, metrics, store, workers

OPERATIONS = Group(
    "Node",
    "Processes, health and metrics.",
    (workers.LIST, *health.OPERATIONS, metrics.SHOW, store.ACKNOWLEDGE),
)
