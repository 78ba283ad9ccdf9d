"""A relay that is not ours: aiosmtpd, which wants TLS and AUTH and keeps what it is given."""

import ssl
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.support.conditions import PATIENCE
from tests.support.valkey import free_port


class RelayPeer:
    """Listens on loopback from `start` to `stop`. `logins` are the mechanisms and names that were tried."""

    def __init__(self, context: ssl.SSLContext, username: str, password: str, *, without: tuple[str, ...] = ()) -> None:
        """`without`: mechanisms of AUTH that it does not offer."""
        self._login = LoginPassword(username.encode(), password.encode())
        self.logins: list[tuple[str, bytes, bool]] = []
        self.taken: list[tuple[str, bool, Any]] = []  # recipient, whether over TLS, the name that logged in
        self._controller = Controller(
            self,
            "127.0.0.1",
            0,
            tls_context=context,
            require_starttls=True,
            authenticator=self._check,
            auth_required=True,
            auth_exclude_mechanism=without,
            ready_timeout=PATIENCE,
        )

    @property
    def port(self) -> int:
        return int(self._controller.port)

    def start(self) -> None:
        self._controller.port = free_port()  # the controller connects to its own port when it starts
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    def to(self, domain: str) -> list[str]:
        return [recipient for recipient, _, _ in self.taken if recipient.endswith("@" + domain)]

    def _check(self, server: Any, session: Any, envelope: Any, mechanism: str, given: LoginPassword) -> AuthResult:
        right = given == self._login
        self.logins.append((mechanism, given.login, right))
        return AuthResult(success=right, handled=right, auth_data=given.login)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.taken += [(recipient, session.ssl is not None, session.auth_data) for recipient in envelope.rcpt_tos]
        return "250 2.0.0 taken"
