"""AUTH at relays: the lines of each mechanism, and TLS from the first byte."""

import base64
import pathlib

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from mta.egress import dial
from mta.egress.handshake import Failed, Handshake
from mta.egress.login import Login, lines_of
from mta.model.destination_settings import RelaySettings
from mta.model.outcomes import Verdict
from tests.support.certificates import Authority
from tests.support.egress_rig import Rig
from tests.support.valkey import free_port

LOGIN = Login("user", "pässword")


def decoded(line: str) -> str:
    return base64.b64decode(line.rpartition(" ")[2]).decode()


def test_plain_goes_on_one_line_while_it_fits() -> None:
    (only,) = lines_of(LOGIN, frozenset(("LOGIN", "PLAIN")))
    assert decoded(only.line) == "\0user\0pässword"
    assert only.shown == "AUTH PLAIN ***"
    first, second = lines_of(Login("user", "x" * 400), frozenset(("PLAIN",)))
    assert (first.line, decoded(second.line)) == ("AUTH PLAIN", "\0user\0" + "x" * 400)


def test_login_is_for_servers_without_plain() -> None:
    first, *others = lines_of(LOGIN, frozenset(("LOGIN", "CRAM-MD5")))
    assert first.line == "AUTH LOGIN"
    assert [decoded(spoken.line) for spoken in others] == ["user", "pässword"]
    assert {spoken.shown for spoken in others} == {"***"}
    assert not list(lines_of(LOGIN, frozenset(("CRAM-MD5",))))
    assert "pässword" not in repr(LOGIN)


async def test_a_password_never_goes_in_clear_text() -> None:
    handshake = Handshake("relay.test", "192.0.2.1", 1.0)
    with pytest.raises(Failed, match="a password never goes in clear text"):
        await handshake.log_in(LOGIN)
    assert handshake.dialogue == []


class Submissions:
    """A relay that speaks TLS from the first byte."""

    def __init__(self, authority: Authority) -> None:
        self.taken: list[str] = []
        self.controller = Controller(
            self,
            "127.0.0.1",
            0,
            ssl_context=authority.server("127.0.0.1"),
            authenticator=lambda *given: AuthResult(success=given[-1] == (b"user", "pässword".encode())),
            auth_required=True,
            auth_require_tls=False,  # it does not know its own TLS
            ready_timeout=60.0,
        )

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        self.taken += envelope.rcpt_tos  # type: ignore[attr-defined]
        return "250 2.0.0 taken"


async def test_a_relay_on_the_port_of_tls_is_spoken_to_under_tls_from_the_first_byte(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    relay = Submissions(authority)
    relay.controller.port = free_port()
    relay.controller.start()
    monkeypatch.setattr(dial, "IMPLICIT_PORT", relay.controller.port)
    settings = RelaySettings(host="127.0.0.1", port=relay.controller.port, username="user", password_file="unused")
    rig = Rig({"relays": {"out": settings}}, route="relay:out", ca_file=str(authority.file))
    rig.logins["out"] = LOGIN
    try:
        async with rig:
            rig.send("a@example.com")
            (outcome,) = await rig.settle.until(1)
    finally:
        relay.controller.stop()
    assert (outcome.verdict, outcome.route, outcome.tls[:8]) == (Verdict.DELIVERED, "relay:out", "TLSv1.3 ")
    assert relay.taken == ["a@example.com"]
