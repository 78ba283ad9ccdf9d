"""Where the commands look for the API, and what they say where it is not."""

import http.server
import socket
import threading
from pathlib import Path

import pytest

from mta.cli import api_url, remote
from mta.cli.api_url import BadUrl, find_url, moved
from mta.http_out.api_client import ApiRefused
from tests.support.commands import call
from tests.support.control_api import TOKEN, Cluster


@pytest.fixture
def nowhere() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:3080", "127.0.0.1:3080 has no scheme; write http://127.0.0.1:3080"),
        ("localhost", "localhost has no scheme; write http://localhost"),
        ("[::1]:8080", "[::1]:8080 has no scheme"),
        ("ftp://127.0.0.1:3080", "is not the URL of an API"),
        ("http://", "is not the URL of an API"),
        ("http:///v1", "is not the URL of an API"),
        ("http://127.0.0.1:port", "is not the URL of an API"),
        ("http://127.0.0.1:99999", "is not the URL of an API"),
        ("http://127.0.0.1:0", "is not the URL of an API"),
        ("http://[::1", "is not the URL of an API"),
        ("http://127.0.0.1:3080/?a=b", "has a query or a fragment"),
        ("http://127.0.0.1 :3080", "is not a URL"),
        ("http://127.0.0.1\n:3080", "is not a URL"),
    ],
)
def test_r8_a_url_that_is_none_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    monkeypatch.setenv("FLOODGATE_URL", url)
    monkeypatch.setenv("FLOODGATE_TOKEN", TOKEN)
    for arguments in (("workers",), ("tail",), ("cancel", "--tag", "t", "--yes")):
        refused = call(*arguments)
        assert refused.exit_code == 2
        assert refused.stderr.startswith("floodgate: FLOODGATE_URL: ")
        assert words in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:s3cret@127.0.0.1:9",
        "http://:s3cret@127.0.0.1:9",
        "https://s3cret@host.example",
        "ann:s3cret@127.0.0.1:9",
        "http://ann:s3cret@127.0.0.1:port",
        "http://ann:s3cret@[::1",
        "http://ann:s3cret\n@127.0.0.1:9",
        "http://ann:s3 cret@127.0.0.1:9",
        "http://ann:x@s3cret@127.0.0.1:9",
        "redis://:s3cret@127.0.0.1:9?a=b#c",
        "http://u:p@127.0.0.1:1?x=s3cret",
        "http://127.0.0.1:1?x=s3cret",
        "http://127.0.0.1:1/?x=a@s3cret",
        "http://127.0.0.1:1#s3cret",
        "127.0.0.1:1/?x=s3cret",
    ],
)
def test_k12_a_password_in_the_url_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    monkeypatch.setenv("FLOODGATE_TOKEN", TOKEN)
    monkeypatch.setenv("FLOODGATE_URL", url)
    refused = call("workers")
    assert refused.exit_code == 2
    assert "s3" not in refused.output
    assert "127.0.0.1" in refused.output or "FLOODGATE_URL" in refused.output
    monkeypatch.delenv("FLOODGATE_URL")
    monkeypatch.setenv("FLOODGATE_DATA_DIR", str(tmp_path))
    (tmp_path / "api.url").write_text(url + "\n")
    refused = call("workers")
    assert (refused.exit_code, "s3" in refused.output, "api.url" in refused.output) == (2, False, True)


@pytest.mark.parametrize("token", ["a b", "s3cret\nX: y", "s3crét", "s3cret\x00"])
def test_k12_a_token_that_no_header_carries_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nowhere: str, token: str
) -> None:
    monkeypatch.setenv("FLOODGATE_URL", f"http://{nowhere}")
    (tmp_path / "admin.token").write_text(token)
    monkeypatch.setenv("FLOODGATE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("FLOODGATE_TOKEN", raising=False)
    refused = call("workers")
    assert (refused.exit_code, "s3cr" in refused.output, "admin.token" in refused.output) == (1, False, True)
    with pytest.raises(ApiRefused, match="FLOODGATE_TOKEN holds none"):
        remote.find_token({"FLOODGATE_TOKEN": token.replace("\x00", "\x01")})


def test_r8_an_api_that_is_not_there_names_the_url_its_source_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nowhere: str
) -> None:
    monkeypatch.setenv("FLOODGATE_TOKEN", TOKEN)
    monkeypatch.setenv("FLOODGATE_DATA_DIR", str(tmp_path))
    (tmp_path / "api.url").write_text(f"http://{nowhere}\n")
    away = call("workers")
    assert away.exit_code == 4
    assert f"the API at http://{nowhere} cannot be reached: Connection refused " in away.stderr
    assert f"(from {tmp_path / 'api.url'}; start the node whose data directory this is" in away.stderr
    assert away.stderr.count("\n") == 1
    monkeypatch.setenv("FLOODGATE_URL", f"http://{nowhere}/")
    away = call("tail")
    assert (away.exit_code, "(from FLOODGATE_URL; check that the node runs" in away.stderr) == (4, True)
    monkeypatch.delenv("FLOODGATE_URL")
    (tmp_path / "api.url").unlink()
    monkeypatch.setattr(api_url, "DEFAULT_URL", f"http://{nowhere}")
    away = call("queues", "list")
    assert away.exit_code == 4
    assert f"the default, since FLOODGATE_URL is not set and {tmp_path / 'api.url'} cannot be read" in away.stderr
    assert "start the node, or set FLOODGATE_URL" in away.stderr


def test_r8_the_node_of_the_data_directory_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, cluster: Cluster
) -> None:
    (tmp_path / "api.url").write_text(f"{url}\n")
    (tmp_path / "admin.token").write_text(f"{TOKEN}\n")
    monkeypatch.delenv("FLOODGATE_URL", raising=False)
    monkeypatch.delenv("FLOODGATE_TOKEN", raising=False)
    monkeypatch.setenv("FLOODGATE_DATA_DIR", str(tmp_path))
    assert call("workers").exit_code == 0
    assert find_url({"STATE_DIRECTORY": str(tmp_path)}).url == url
    given = find_url({"FLOODGATE_URL": " https://other.example/base/ ", "FLOODGATE_DATA_DIR": str(tmp_path)})
    assert (given.url, given.source) == ("https://other.example/base", "from FLOODGATE_URL")


class _Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"<html>not here</html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("arguments", [("workers",), ("tail",)])
def test_r8_what_is_no_floodgate_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Other) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("FLOODGATE_TOKEN", TOKEN)
        monkeypatch.setenv("FLOODGATE_URL", f"http://127.0.0.1:{other.server_port}")
        answered = call(*arguments)
        other.shutdown()
    assert answered.exit_code == 4
    assert "is no Floodgate API: HTTP 404, and no JSON (from FLOODGATE_URL; " in answered.stderr


def test_r8_a_node_that_comes_back_elsewhere_is_found_and_one_that_is_away_is_waited_for(tmp_path: Path) -> None:
    environ = {"FLOODGATE_DATA_DIR": str(tmp_path)}
    assert moved(environ, "http://127.0.0.1:5") == "http://127.0.0.1:5"
    for half in ("", "http:/", "http://127.0.0.1:x"):
        (tmp_path / "api.url").write_text(half)
        assert moved(environ, "http://127.0.0.1:5") == "http://127.0.0.1:5"
    (tmp_path / "api.url").write_text("http://127.0.0.1:6\n")
    assert moved(environ, "http://127.0.0.1:5") == "http://127.0.0.1:6"
    assert moved(environ | {"FLOODGATE_URL": "http://127.0.0.1:5"}, "http://127.0.0.1:5") == "http://127.0.0.1:5"


def test_an_empty_file_is_no_url(tmp_path: Path) -> None:
    (tmp_path / "api.url").write_text("\n")
    with pytest.raises(BadUrl, match=r"api\.url"):
        find_url({"FLOODGATE_DATA_DIR": str(tmp_path)})
