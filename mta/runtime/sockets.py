"""Listening sockets: the supervisor binds them, and they outlive the processes that accept on them."""

import os
import socket
from pathlib import Path
from typing import Final

from mta.model.errors import SettingsError
from mta.model.settings import Address, Settings

_BACKLOG: Final = 1024  # connections that wait to be accepted
_LONGEST: Final = 100  # octets of the path of a socket


def listen(address: Address, key: str) -> socket.socket:
    """A bound, listening socket. Raises SettingsError, which names `key`, the setting that gives the address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address.host, address.port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(f"{key}: cannot listen on {address}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


def inject_socket(settings: Settings) -> str:
    """The path of the socket through which the API hands mail to the process that takes it."""
    return str(Path(settings.node.data_dir) / "inject.sock")


def listen_inside(path: str) -> socket.socket:
    """A listening socket that only this user can open. Raises SettingsError."""
    if len(os.fsencode(path)) > _LONGEST:
        raise SettingsError(f"node.data_dir: {path} is too long for a socket's name; give a shorter folder")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(f"node.data_dir: cannot listen on {path}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


def name_of(sock: socket.socket) -> str:
    """The address as people write it."""
    return str(_address(sock))


def api_url(sock: socket.socket) -> str:
    """The URL that the ready line names."""
    return f"http://{name_of(sock)}"


def local_url(sock: socket.socket) -> str:
    """The URL that a client on this machine connects to, also where the API listens on every address."""
    address = _address(sock)
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return f"http://{Address(loopback, address.port)}"


def _address(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return Address(host, port)
