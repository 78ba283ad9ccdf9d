"""This process as the store knows it: the session that its claims, confirmations and limits belong to."""

import os
import secrets


class StoreSession:
    """The id is `<node>.<role>.<pid>.<random>`; a process that was given up for dead goes on under a new one."""

    def __init__(self, node: str, role: str, roles: tuple[str, ...]) -> None:
        self.node = node
        self.role = role
        self.roles = roles
        self.pid = os.getpid()
        self.id = ""
        self.renew()

    def renew(self) -> str:
        self.id = f"{self.node}.{self.role}.{self.pid}.{secrets.token_hex(4)}"
        return self.id
