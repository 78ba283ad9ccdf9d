"""The control API over the ports in memory, on a thread of its own."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

from control_api.http.connections import Connections
from control_api.http.serving import Serving
from tests.support.control_api import Cluster, app_for


@contextlib.contextmanager
def served(cluster: Cluster) -> Iterator[str]:
    """The address of an API on a thread of its own, for those who speak synchronously."""
    loop = asyncio.new_event_loop()
    serving = Serving(app_for(cluster), Connections())
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    loop.run_until_complete(serving.start([listening]))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    asyncio.run_coroutine_threadsafe(serving.stop(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
