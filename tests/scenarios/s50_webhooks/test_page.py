"""The programs of docs/webhooks.md run as they are printed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from mta.policy.webhook_signature import secret_text, signed_headers
from tests.support.node import TOKEN
from tests.support.node_and_sink import NodeAndSink
from tests.support.sources import ROOT
from tests.support.valkey import free_port

PAGE = ROOT / "docs" / "webhooks.md"
SECRET = bytes(range(32))


def programs() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_a_send_is_followed_by_the_programs_of_the_page(place: NodeAndSink, tmp_path: Path) -> None:
    receiver, _, sender = programs()
    (tmp_path / "receiver.py").write_text(receiver)
    (tmp_path / "send.py").write_text(sender)
    environ = os.environ | {"FLOODGATE_URL": place.api, "FLOODGATE_TOKEN": TOKEN, "PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "send.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[-1][:2] == ["ann@example.net", "SENT"], done.stdout
    assert place.arrived("example.net") == ["ann@example.net"]
    for webhook in place.call("GET", "/v1/webhooks")["webhooks"]:
        place.call("DELETE", f"/v1/webhooks/{webhook['id']}")


def test_a_library_verifies_in_a_line(tmp_path: Path) -> None:
    _, program, _ = programs()
    body = b'{"type":"message:updated","timestamp":"2026-01-31T12:00:00.000Z","data":{}}'
    for secret, good in ((SECRET, True), (bytes(32), False)):
        headers = signed_headers([SECRET], "0.1-5.0", int(time.time()), body)
        environ = os.environ | headers | {"WEBHOOK_SECRET": secret_text(secret)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environ, input=body, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode == 0, done.stdout) == (good, b"message:updated\n" if good else b""), done.stderr
