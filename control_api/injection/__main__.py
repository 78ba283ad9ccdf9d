"""The process that takes mail over HTTP."""

import asyncio
import resource
import socket
import sys
from typing import Final

from control_api.http.connections import Connections, most_connections
from control_api.http.serving import Serving
from control_api.injection.aids import CallAids
from control_api.injection.app import access_by, client_app, forwarded_app
from control_api.injection.door import Door
from control_api.injection.limits import CallLimits, CallRoom
from control_api.injection.plan import Planner
from control_api.injection.ready_mime import ReadyMime
from mta.runtime.child import Child
from mta.runtime.wiring.inject import InjectParts, open_inject
from mta.timing.cancelling import cancel_all

_TURN: Final = 0.001  # seconds after which a thread that makes a large message lets the event loop run


async def main(child: Child) -> None:
    sys.setswitchinterval(_TURN)
    sockets = child.listeners()
    room = CallRoom()
    parts = await open_inject(child, lambda: room.calls)
    watchers = await parts.start(child)
    serving = _serving(child, parts, room, sockets)
    for one, listening in serving:
        await one.start(listening)
    child.ready()
    await child.stopping.wait()
    await asyncio.gather(*(one.stop() for one, _ in serving))
    await parts.stop()
    await cancel_all(watchers)
    await parts.close()


def _serving(
    child: Child, parts: InjectParts, room: CallRoom, sockets: list[socket.socket]
) -> list[tuple[Serving, list[socket.socket]]]:
    """Each application with the sockets that it listens on."""
    settings = child.settings
    limits = CallLimits.of(settings)
    tenants, would_sign = (lambda: parts.guard.table.tenants), parts.calls.would_sign
    planner = Planner(limits, ReadyMime(settings.smtp), tenants, would_sign)
    aids = CallAids(parts.templates, parts.tracking_keys, settings.tracking.url)
    door = Door(parts.calls, planner, aids, limits, room, settings.node.data_dir)
    inside = [one for one in sockets if one.family == socket.AF_UNIX]
    outside = [one for one in sockets if one.family != socket.AF_UNIX]
    most = most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    found = [(Serving(forwarded_app(door), Connections(most)), inside)]
    if outside:
        loopback = all(address.is_loopback for address in settings.api.inject_listen)
        app = client_app(door, access_by(parts.tokens, settings.api.inject_rate), parts.audit, loopback)
        found.append((Serving(app, Connections(most)), outside))
    return found
