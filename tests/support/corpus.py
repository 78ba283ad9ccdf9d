"""Messages to send, and what they are on the wire: the project's own corpus and CPython's."""

import importlib.util
import re
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
_LINE_END = re.compile(rb"\r\n|\r|\n")
_HEADED = re.compile(rb"\r\n|[!-9;-~]+[ \t]*:")
_STUFFED = re.compile(rb"(?<=\n)\.")


def own() -> dict[str, bytes]:
    """Messages that must be relayed."""
    return _read("made") | _read("hand")


def bare() -> dict[str, bytes]:
    """Messages with a bare CR or LF."""
    return _read("bare")


def of_cpython() -> dict[str, bytes]:
    """The messages of CPython's own tests with CRLF line ends; none where the interpreter came without them."""
    try:
        spec = importlib.util.find_spec("test.test_email")
    except ImportError:
        return {}
    if spec is None or spec.origin is None:
        return {}
    found = sorted((Path(spec.origin).parent / "data").glob("msg_*.txt"))
    return {f"cpython-{path.stem}": with_crlf(path.read_bytes()) for path in found}


def ended(content: bytes) -> bytes:
    """As it arrives: a last line without an end gets one (RFC 5321 4.1.1.4)."""
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


def handed_on(content: bytes) -> bytes:
    """As it leaves again, behind our trace header: an empty line comes before text that has no header."""
    content = ended(content)
    return content if not content or _HEADED.match(content) else b"\r\n" + content


def with_crlf(content: bytes) -> bytes:
    """Each line end as CRLF."""
    return _LINE_END.sub(b"\r\n", content)


def stuffed(content: bytes) -> bytes:
    """As DATA carries it, with the end of data (RFC 5321 4.5.2)."""
    return _STUFFED.sub(b"..", b"\n" + ended(content))[1:] + b".\r\n"


def unstuffed(wire: bytes) -> bytes:
    """The content that DATA carried, without the end of data."""
    assert wire.endswith(b".\r\n")
    return _STUFFED.sub(b"", b"\n" + wire[:-3])[1:]


def _read(folder: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((CORPUS / folder).glob("*.eml"))}
