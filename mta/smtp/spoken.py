"""Lines of an SMTP dialogue as people read them: `C: ` before commands, `S: ` before replies; bounded."""

from collections.abc import Iterable, Sequence
from typing import Final

from mta.model.outcomes import Reply

MOST_LINES: Final = 60
LONGEST_LINE: Final = 512  # characters
MOST_CHARACTERS: Final = 4096  # of all lines together


# A command as people read it, without its line end; or a reply and its lines, [] = they are not known.
Spoken = str | tuple[Reply, Sequence[bytes]]


def in_words(spoken: Iterable[Spoken]) -> list[str]:
    """The lines of a dialogue: a reply in the lines that it came in, where they are known."""
    lines: list[str] = []
    for one in spoken:
        if isinstance(one, str):
            lines.append(asked(one))
            continue
        reply, came = one
        in_lines = len(came) > 1 and reply.text.encode().startswith(came[0])
        lines += said_in_lines(reply.code, came) if in_lines else [said(reply)]
    return lines


def asked(command: str) -> str:
    """A command without its line end."""
    return f"C: {command}"[:LONGEST_LINE]


def said(reply: Reply) -> str:
    """A reply on one line."""
    return f"S: {' '.join(part for part in (str(reply.code), reply.enhanced, reply.text) if part)}"[:LONGEST_LINE]


def said_in_lines(code: int, lines: Sequence[bytes]) -> list[str]:
    """A reply of several lines, such as that to EHLO."""
    last = len(lines) - 1
    return [
        f"S: {code}{'-' if at < last else ' '}{line.decode('utf-8', 'backslashreplace')}"[:LONGEST_LINE]
        for at, line in enumerate(lines)
    ]


def bounded(lines: Iterable[str]) -> tuple[str, ...]:
    """The last lines that fit: the end says why the attempt failed."""
    kept: list[str] = []
    left = MOST_CHARACTERS
    for line in reversed(list(lines)):
        left -= len(line)
        if left < 0 or len(kept) == MOST_LINES:
            break
        kept.append(line)
    return tuple(reversed(kept))
