"""The connecting of a socket, against sockets of this process."""

import errno
import socket
from collections.abc import Iterator

import pytest

from mta.egress.socket_connect import connected


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setblocking(False)
        yield made


async def test_a_listening_port_is_connected_to(sock: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        await connected(sock, server.getsockname(), 5.0)
        assert sock.getpeername() == server.getsockname()


@pytest.mark.parametrize("seconds", [0.0, 5.0])
async def test_a_refused_connection_has_the_number_of_its_error(sock: socket.socket, seconds: float) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused") as refused:
            await connected(sock, closed.getsockname(), seconds)
    assert refused.value.errno == errno.ECONNREFUSED


async def test_without_an_answer_the_time_ends_it(sock: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as other:
        other.connect(server.getsockname())  # the server's line is full from here on
        with pytest.raises(TimeoutError):
            await connected(sock, server.getsockname(), 0.05)
