"""A receiver of webhooks as senders have one: an HTTP server whose answers a test decides."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

from standardwebhooks import Webhook


class Hook(NamedTuple):
    """A request as it came."""

    at: float  # monotonic seconds
    headers: dict[str, str]
    body: bytes
    number: int  # of the requests to the receiver, from 0

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """Its JSON, if the signature is right."""
        return Webhook(secret).verify(self.body, self.headers)

    def events(self) -> list[dict[str, Any]]:
        """Those of a batch, or the one that it is."""
        found = json.loads(self.body)
        return list(found["data"]) if found["type"] == "batch" else [found]


class Reply(NamedTuple):
    """An answer of the receiver."""

    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b"ok"
    wait: float = 0.0  # seconds before it
    raw: bytes | None = None  # these bytes instead


Decide = Callable[[Hook], Reply]


class WebhookReceiver:
    """Every request is kept before it is answered."""

    def __init__(self, decide: Decide = lambda hook: Reply(), host: str = "127.0.0.1", port: int = 0) -> None:
        self.decide = decide
        self._at = host, port
        self.hooks: list[Hook] = []
        self.answered: list[Hook] = []  # with 2xx
        self.most_at_once = 0
        self._under_way = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://{self._at[0]}:{self.port}/hook"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.handle(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Tests look at `hooks`."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(self._at, Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self._lock:
            hook = Hook(time.monotonic(), {k.lower(): v for k, v in request.headers.items()}, body, len(self.hooks))
            self.hooks.append(hook)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            self._answer(request, hook)
        except OSError:
            request.close_connection = True
        finally:
            with self._lock:
                self._under_way -= 1

    def _answer(self, request: BaseHTTPRequestHandler, hook: Hook) -> None:
        reply = self.decide(hook)
        time.sleep(reply.wait)
        if reply.raw is not None:
            request.wfile.write(reply.raw)
            request.close_connection = True
            return
        with self._lock:
            if reply.status < 300:
                self.answered.append(hook)
        request.send_response(reply.status)
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(reply.body)))
        request.end_headers()
        request.wfile.write(reply.body)

    def events(self, *, kind: str = "message:updated") -> list[dict[str, Any]]:
        """The events of this type that came, in order; those that were refused, too."""
        return [event for hook in list(self.hooks) for event in hook.events() if event["type"] == kind]

    def told(self, tag: str) -> list[dict[str, Any]]:
        """The records of a tag's mail that came, in order."""
        return [event["data"] for event in self.events() if tag in event["data"].get("tags", ())]
