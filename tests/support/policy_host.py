"""HTTPS hosts that give MTA-STS policies, one certificate for each domain, on a thread of its own."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/.well-known/mta-sts.txt"


class PolicyHost:
    """`policies`: the text by domain; `answers`: another status with the place that it leads to. `asked`: domains."""

    def __init__(self, contexts: dict[str, ssl.SSLContext]) -> None:
        """`contexts`: the server's side of TLS by domain."""
        self.policies: dict[str, str] = {}
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                domain = self.headers["Host"].partition(":")[0].removeprefix("mta-sts.")
                place.asked.append(domain)
                status, location = place.answers.get(domain, (200, ""))
                text = place.policies.get(domain, "") if self.path == PATH else ""
                self.send_response(status if text else 404)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def choose(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            found = contexts.get((name or "").removeprefix("mta-sts."))
            if found is not None:
                sock.context = found

        front.sni_callback = choose
        self._server.socket = front.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
