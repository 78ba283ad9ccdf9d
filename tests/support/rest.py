"""Plain HTTP to a node's API: any body, any headers, and the live stream as a reader of server-sent events sees it."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.support.node import TOKEN

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: Any


def ask(
    api: str,
    method: str,
    path: str,
    body: bytes | None = None,
    kind: str = JSON,
    token: str | None = TOKEN,
    **more: str,
) -> Answer:
    """One request; `body` goes out as it is; `more` are header fields, `_` for `-`. Without JSON in the answer its body
    is bytes."""
    connection = _connection(api)
    try:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        connection.request(method, path, body, headers | ({"Content-Type": kind} if body is not None else {}))
        answer = connection.getresponse()
        raw = answer.read()
        is_json = answer.headers.get_content_type() == JSON
        return Answer(answer.status, answer.headers, json.loads(raw) if is_json else raw)
    finally:
        connection.close()


def as_form(**fields: str) -> bytes:
    return urllib.parse.urlencode(fields).encode()


class Stream:
    """Events of `/v1/events` as they come, until the server or `close` ends them."""

    def __init__(self, api: str, query: str = "", last_id: str | None = None, token: str = TOKEN) -> None:
        self.connection = _connection(api)
        headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last_id} if last_id else {})
        self.connection.request("GET", "/v1/events" + query, headers=headers)
        self._socket = self.connection.sock
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.headers["Content-Type"].startswith("text/event-stream")
        assert self.answer.readline().startswith(b": watching")
        self.events: list[tuple[str, str, dict[str, Any]]] = []  # id, type, data
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            while line := self.answer.readline():
                text = line.decode().rstrip("\n")
                if text:
                    name, _, value = text.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))
                    fields = {}
        self.ended.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self.connection.close()


@contextlib.contextmanager
def watching(api: str, query: str = "", last_id: str | None = None, token: str = TOKEN) -> Iterator[Stream]:
    stream = Stream(api, query, last_id, token)
    try:
        yield stream
    finally:
        stream.close()


def _connection(api: str) -> http.client.HTTPConnection:
    where = urllib.parse.urlsplit(api)
    return http.client.HTTPConnection(str(where.hostname), where.port, timeout=90)
