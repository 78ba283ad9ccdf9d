"""A client of MailerQ's REST API as its documentation describes one: it reads status codes, and the array of a list."""

import json
import urllib.parse
from typing import Any

from tests.support.rest import FORM, JSON, ask

Fields = dict[str, Any]


class Client:
    """Sends the same fields as JSON, or urlencoded: then everything is text."""

    def __init__(self, api: str, form: bool = False) -> None:
        self.api = api
        self.form = form

    def post(self, path: str, fields: Fields) -> int:
        return self._send("POST", path, fields)

    def delete(self, path: str, fields: Fields) -> int:
        """Selectors go in the body, in the format of POST."""
        return self._send("DELETE", path, fields)

    def delete_by_query(self, path: str, fields: Fields) -> int:
        return ask(self.api, "DELETE", f"{path}?{urllib.parse.urlencode(_texts(fields))}").status

    def list(self, path: str) -> list[Fields]:
        answer = ask(self.api, "GET", path)
        assert (answer.status, answer.headers.get_content_type()) == (200, JSON)
        assert isinstance(answer.body, list), "a bare array"
        return answer.body

    def _send(self, method: str, path: str, fields: Fields) -> int:
        if self.form:
            return ask(self.api, method, path, urllib.parse.urlencode(_texts(fields)).encode(), FORM).status
        return ask(self.api, method, path, json.dumps(fields).encode()).status


def _texts(fields: Fields) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in fields.items()}
