"""Content is made 7-bit, and means the same to a reader of MIME."""

import email
import email.policy
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.content.header_block import header_end
from mta.content.seven_bit import Entity, made_seven_bit
from tests.support import corpus

CORPUS = {name: corpus.ended(content) for name, content in corpus.own().items() if not content.isascii()}


def entity_of(message: bytes) -> Entity:
    end = header_end(message)
    return Entity(message[:end], message[end + 2 :])


def whole(entity: Entity) -> bytes:
    return entity.header + b"\r\n" + entity.body


def leaves(message: bytes) -> list[tuple[str, bytes]]:
    """Type and octets of each leaf."""

    def octets(part: Message) -> bytes:
        found = part.get_payload(decode=True)
        return found.replace(b"\r\n", b"\n") if isinstance(found, bytes) else b""

    tree = email.message_from_bytes(message, policy=email.policy.compat32)
    return [(part.get_content_type(), octets(part)) for part in tree.walk() if not part.is_multipart()]


@pytest.mark.parametrize("name", CORPUS)
def test_messages_of_the_corpus_mean_the_same(name: str) -> None:
    message = CORPUS[name]
    made = made_seven_bit(entity_of(message))
    assert made.body.isascii()
    assert leaves(whole(made)) == leaves(message)
    if made.body != entity_of(message).body:
        assert max(map(len, made.body.split(b"\r\n"))) <= 76


def nested(inner: str) -> bytes:
    return (
        'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=b (1)"\r\n'
        "Content-Transfer-Encoding: 8bit\r\n\r\n"
        f"preamble\r\n--=b (1)\r\n\r\nGrüße ohne Kopf\r\n--=b (1)  \r\n{inner}\r\n--=b (1)--\r\nepilogue\r\n"
    ).encode()


@pytest.mark.parametrize(
    "inner",
    [
        "Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>Grüße, und noch etwas mehr</p>",
        "Content-Type: application/octet-stream\r\n\r\nüüüü",
        "Content-Type: message/rfc822\r\n\r\nFrom: a@b\r\n\r\nGrüße in einer Nachricht",
        "Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\nGrüße innen\r\n--in--",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nR3L8w59l",
        "\r\n",
        "",
    ],
)
def test_parts_are_encoded_each_for_itself(inner: str) -> None:
    message = nested(inner)
    made = made_seven_bit(entity_of(message))
    assert made.body.isascii()
    assert b"Content-Transfer-Encoding: 7bit" in made.header
    assert leaves(whole(made)) == leaves(message)
    assert made.body.startswith(b"preamble\r\n--=b (1)\r\n")
    assert made.body.endswith(b"\r\n--=b (1)--\r\nepilogue\r\n")


@pytest.mark.parametrize("kind", ["multipart/signed", "multipart/encrypted", "message/partial"])
def test_what_a_signature_may_cover_is_left(kind: str) -> None:
    signed = f"Content-Type: {kind}; boundary=in\r\n\r\n--in\r\n\r\nGrüße\r\n--in--"
    alone = entity_of(signed.encode() + b"\r\n")
    assert made_seven_bit(alone) is alone
    made = made_seven_bit(entity_of(nested(signed)))
    assert signed.encode() in made.body


def test_text_that_says_nothing_of_itself_gets_a_type() -> None:
    words = "Grüße, wie immer"
    for charset, text in ((b"utf-8", words.encode()), (b"unknown-8bit", words.encode("cp1252"))):
        made = made_seven_bit(Entity(b"From: a@b.test\r\n", text + b"\r\n"))
        assert b"MIME-Version: 1.0\r\n" in made.header
        assert b"Content-Type: text/plain; charset=" + charset in made.header
        assert leaves(whole(made))[0][1] == text + b"\n"


def test_content_that_is_7_bit_stays() -> None:
    entity = Entity("X: ü\r\n".encode(), b"body\r\n")
    assert made_seven_bit(entity) is entity


LINES = st.lists(st.sampled_from(["--b", "--b--", "--b ", "", "ü", "text", " ", "Content-Type: text/plain", "--c"]))


@given(LINES)
def test_any_parts_mean_the_same(lines: list[str]) -> None:
    header = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    message = (header + "".join(line + "\r\n" for line in lines)).encode()
    made, before = leaves(whole(made_seven_bit(entity_of(message)))), leaves(message)
    # The line end of a last part without an end is content or not, as the reader sees it.
    assert [(kind, octets.rstrip(b"\n")) for kind, octets in made] == [
        (kind, octets.rstrip(b"\n")) for kind, octets in before
    ]
