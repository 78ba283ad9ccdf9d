"""Connecting a socket to an address: the loop's own way looks the address up and costs several times as much."""

import asyncio
import errno
import os
import socket


async def connected(sock: socket.socket, address: tuple[str, int], seconds: float) -> None:
    """Returns when the non-blocking socket is connected to the IP address and port. Raises TimeoutError after `seconds`
    (0 = no limit of our own), and OSError with the number of the error."""
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        if not await _is_writable(sock, seconds):
            raise TimeoutError
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


async def _is_writable(sock: socket.socket, seconds: float) -> bool:
    """Whether the connection has been made or has failed; False: neither within that time."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.add_writer(sock, _resolve, over, True)
    timer = loop.call_later(seconds, _resolve, over, False) if seconds else None
    try:
        return bool(await over)
    finally:
        loop.remove_writer(sock)
        if timer is not None:
            timer.cancel()


def _resolve(over: asyncio.Future[bool], writable: bool) -> None:
    if not over.done():
        over.set_result(writable)
