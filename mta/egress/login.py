"""AUTH of a client: the commands of PLAIN and LOGIN (RFC 4954, RFC 4616)."""

import base64
from collections.abc import Iterator
from typing import Final, NamedTuple

HIDDEN: Final = "***"  # in the place of a secret in a dialogue
_LONGEST: Final = 510  # octets of a command line (RFC 5321 4.5.3.1.4)


class Login(NamedTuple):
    """A name and a password for AUTH."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"<Login {self.username}>"


class Spoken(NamedTuple):
    """A line to send, and the same line as a dialogue shows it."""

    line: str
    shown: str


def lines_of(login: Login, offered: frozenset[str]) -> Iterator[Spoken]:
    """The lines in order: each but the last is answered by 334. None: the server offers neither PLAIN nor LOGIN."""
    if "PLAIN" in offered:
        words = _encoded(f"\0{login.username}\0{login.password}")
        if len("AUTH PLAIN ") + len(words) <= _LONGEST:
            yield Spoken(f"AUTH PLAIN {words}", f"AUTH PLAIN {HIDDEN}")
        else:
            yield from (Spoken("AUTH PLAIN", "AUTH PLAIN"), Spoken(words, HIDDEN))
    elif "LOGIN" in offered:
        yield Spoken("AUTH LOGIN", "AUTH LOGIN")
        yield from (Spoken(_encoded(words), HIDDEN) for words in (login.username, login.password))


def _encoded(words: str) -> str:
    return base64.b64encode(words.encode()).decode()
