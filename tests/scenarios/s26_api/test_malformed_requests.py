"""Requests that are not HTTP as it should be: no traceback, no token in log or answer, the error object each time."""

import socket
from typing import Any

import pytest

from tests.support.node import TOKEN
from tests.support.raw_http import exchange
from tests.support.rest import ask

HOST = b"Host: localhost\r\n"
BEARER = b"Authorization: Bearer " + TOKEN.encode()
LONG = b"x" * 9000

MALFORMED = {
    "a second CR": (b"GET /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\r\n\r\n", 400),
    "a control character": (b"GET /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\x01\r\n\r\n", 400),
    "NUL": (b"GET /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\x00\r\n\r\n", 400),
    "a blank before the colon": (
        b"GET /v1/errors HTTP/1.1\r\n" + HOST + b"Authorization : Bearer " + TOKEN.encode() + b"\r\n\r\n",
        400,
    ),
    "a long header": (b"GET /v1/errors HTTP/1.1\r\n" + HOST + BEARER + LONG + b"\r\n\r\n", 431),
    "a long name": (b"GET /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\n" + LONG + b": 1\r\n\r\n", 431),
    "a long target": (b"GET /" + TOKEN.encode() + LONG + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "many fields": (
        b"GET /v1/errors HTTP/1.1\r\n"
        + HOST
        + BEARER
        + b"\r\n"
        + b"".join(b"X-%d: 1\r\n" % n for n in range(300))
        + b"\r\n",
        431,
    ),
    "a folded field": (
        b"GET /v1/errors HTTP/1.1\r\n" + HOST + b"Authorization: Bearer\r\n " + TOKEN.encode() + b"\r\n\r\n",
        400,
    ),
    "no host": (b"GET /v1/errors HTTP/1.1\r\n" + BEARER + b"\r\n\r\n", 400),
    "no method": (b"\x16\x03\x01" + TOKEN.encode() + b"\r\n\r\n", 400),
    "a bare LF": (b"GET /v1/errors HTTP/1.1\n" + HOST + BEARER + b"\n\n", 400),
    "another version": (b"GET /v1/errors HTTP/7.7\r\n" + HOST + BEARER + b"\r\n\r\n", 400),
    "two lengths": (
        b"POST /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        400,
    ),
    "a length that is no number": (
        b"POST /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\nContent-Length: two\r\n\r\n{}",
        400,
    ),
    "a chunk that is none": (
        b"POST /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + TOKEN.encode() + b"\r\n\r\n",
        400,
    ),
    "an unknown expectation": (b"GET /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\nExpect: miracles\r\n\r\n", 400),
    "another unknown expectation": (
        b"POST /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\nExpect: " + TOKEN.encode() + b"\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_k4_a_malformed_request_is_refused_with_the_error_object_and_shows_nothing(place: Any, kind: str):
    octets, status = MALFORMED[kind]
    answer = exchange(place.api, octets)
    assert (answer.status, answer.error["type"]) == (status, "invalid" if status == 400 else "headers_too_large")
    assert answer.error["request_id"] in answer.head
    assert "application/json" in answer.head
    assert TOKEN.encode() not in answer.body
    log = place.node.errors()
    assert TOKEN not in log
    assert "Traceback" not in log


def test_k4_a_flood_of_malformed_requests_is_one_short_line(place: Any):
    for octets, _ in MALFORMED.values():
        exchange(place.api, octets)
    lines = [line for line in place.node.errors().splitlines() if "was refused with" in line]
    assert len(lines) == 1
    assert len(lines[0]) < 250
    assert "127.0.0.1" in lines[0]


def test_k4_a_client_that_goes_in_the_middle_of_its_body_leaves_no_traceback(place: Any):
    head = b"POST /v1/errors HTTP/1.1\r\n" + HOST + BEARER + b"\r\nContent-Type: application/json\r\n"
    for octets in (head + b"Content-Length: 100\r\n\r\n{", head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
        host, _, port = place.api.rpartition("//")[2].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(octets)
    assert ask(place.api, "GET", "/v1/errors").status == 200
    assert "Traceback" not in place.node.errors()


def test_k12_what_is_no_utf8_behind_its_percent_encoding_is_400(place: Any):
    for path, field in (
        ("/v1/tags/%ff", "path"),
        ("/v1/tags/a%c3", "path"),
        ("/v1/errors/%fe", "path"),
        ("/v1/tags?tag=%ff", "query"),
        ("/v1/errors?tag=%ed%a0%80", "query"),
    ):
        answer = ask(place.api, "GET", path)
        assert (answer.status, answer.body["error"]["field"]) == (400, field), path
    assert ask(place.api, "GET", "/v1/tags/%c3%a4").status == 200


def test_k12_without_a_token_only_requests_to_this_machine_are_answered_on_loopback(place: Any):
    def status(path: bytes, host: bytes, more: bytes = b"") -> int:
        return exchange(place.api, b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + more + b"\r\n").status

    for path in (b"/metrics", b"/healthz", b"/readyz", b"/openapi.json"):
        for host in (b"localhost", b"localhost:8080", b"127.0.0.1:1", b"[::1]:8080", b"LOCALHOST"):
            assert status(path, host) == 200, (path, host)
        for host in (
            b"evil.example",
            b"evil.example:8080",
            b"localhost.evil.example",
            b"[::1].evil.example",
            b"127.0.0.1:evil",
        ):
            assert status(path, host) == 403, (path, host)
            assert status(path, host, BEARER + b"\r\n") == 200, "a token shows that no web page asks"
            assert status(path, host, b"Authorization: Bearer x\r\n") == 401
    assert exchange(place.api, b"GET /healthz HTTP/1.0\r\n\r\n").status == 200, "no browser leaves Host out"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
@pytest.mark.parametrize("path", ["/v1/errors", "/v1/messages", "/healthz"])
def test_k4_a_body_that_is_not_coded_as_it_says_is_no_fault_of_ours(place: Any, coding: str, path: str):
    head = b"POST %b HTTP/1.1\r\n" % path.encode() + HOST + BEARER + b"\r\nContent-Type: application/json\r\n"
    body = b"this is not compressed at all, whatever"
    answer = exchange(
        place.api, head + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(body)) + body
    )
    assert answer.status in (400, 405, 415)
    assert ask(place.api, "GET", "/healthz").status == 200
    assert "Error" not in place.node.errors()
