"""The programs of docs/api.md do as they are printed what the page says."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.support.node import TOKEN
from tests.support.node_and_sink import NodeAndSink
from tests.support.rest import ask
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
SECTION = PAGE.partition("\n## Programs\n")[2].partition("\n## ")[0]
BLOCKS = {
    title: (language, text)
    for title, language, text in re.findall(r"### ([^\n]+)\n.*?```(\w+)\n(.*?)\n```", SECTION, re.DOTALL)
}


def run(title: str, url: str, **environ: str) -> list[str]:
    """The lines that a program of the page prints."""
    language, text = BLOCKS[title]
    words = ["sh", "-euc", text] if language == "sh" else [sys.executable, "-c", text]
    told = os.environ | {"FLOODGATE_URL": url, "FLOODGATE_TOKEN": TOKEN} | environ
    done = subprocess.run(words, capture_output=True, text=True, env=told, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.splitlines()


def test_a_message_is_sent_looked_at_and_taken_back(place: NodeAndSink) -> None:
    record, canceled = map(json.loads, run("Send a message, look at it, take it back", place.api))
    assert (record["status"], canceled["status"]) == ("DELAYED", "CANCELED")
    assert record["tags"] == ["orders"]


def test_those_who_were_spared_are_written_to(place: Any) -> None:
    rule = place.order("swept", tag="spared")
    body = {"from": "a@example.com", "to": ["a@spared.test", "b@spared.test"], "text": "wrong", "tags": ["spared"]}
    place.call("POST", "/v1/messages", body, (202,))
    place.complete(rule)
    place.spared(rule["id"], 2)
    lines = [json.loads(line) for line in run("Write to those who were spared", place.api, RULE=rule["id"])]
    assert sorted(line["recipient"] for line in lines) == ["a@spared.test", "b@spared.test"]
    place.rests("again", accepted=2, delivered=2)
    place.lift(rule)


class Busy(http.server.BaseHTTPRequestHandler):
    """Passes a call on to the API once it has refused it with 503 and with 429."""

    api = ""
    refusals: ClassVar[list[int]] = []

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.refusals:
            self._reply(self.refusals.pop(0), {"error": {"message": "busy", "field": None}})
            return
        found = ask(self.api, self.command, self.path, body or None)
        self._reply(found.status, found.body)

    def _reply(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def busy(place: NodeAndSink) -> Iterator[str]:
    Busy.api, Busy.refusals = place.api, [503, 429]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_client_tries_again_what_may_go_well_and_tells_what_cannot(place: NodeAndSink, busy: str) -> None:
    assert run("A client that knows its errors", busy) == [
        "ann@example.net DELAYED",
        "ann@example.net CANCELED",
        "bob@example.net DELAYED",
        "bob@example.net CANCELED",
        "to: is not an address; write local-part@domain",
    ]
    assert Busy.refusals == []
    assert run("A client that knows its errors", place.api)


def test_each_program_of_the_page_is_run_here() -> None:
    text = (ROOT / "tests" / "scenarios" / "s51_http_mail" / "test_programs.py").read_text("utf-8")
    assert len(BLOCKS) == SECTION.count("\n### ") == 3
    for title in BLOCKS:
        assert f'run("{title}"' in text
