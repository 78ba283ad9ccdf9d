"""Mail is signed with the keys of the domain that answers for it; dkimpy judges the signatures."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.content.header_block import header_end
from mta.model.dkim_keys import Algorithm, SealedKey
from mta.model.outcomes import Reply
from mta.model.settings import DkimSettings
from mta.ports.dkim import Signed, Unsigned
from mta.signing.key_ring import KeyRing
from mta.signing.mail_signer import MailSigner
from tests.support import corpus
from tests.support.dkim_judge import signatures, verified
from tests.support.dkim_keys import KeysInMemory, OpenSeal, answer_to, entry_of, records_of
from tests.support.dkim_keys import signed as sign

RSA = entry_of("example.com", "r1", Algorithm.RSA)
ED = entry_of("example.com", "e1")
MESSAGE = b"From: Some One <a@example.com>\r\nTo: b@c.test\r\nSubject: hi\r\n\r\nhello\r\n"


async def signer_of(*entries: SealedKey, seal: OpenSeal | None = None, **settings: Any) -> MailSigner:
    ring = KeyRing(KeysInMemory(*entries), seal or OpenSeal())
    await ring.look()
    return MailSigner(DkimSettings(**settings), ring)


def domains(message: bytes | Reply) -> list[str]:
    assert isinstance(message, bytes)
    return [tags["d"] for tags in signatures(message)]


def from_(address: str) -> bytes:
    return MESSAGE.replace(b"Some One <a@example.com>", address.encode())


CORPUS = {
    name: corpus.handed_on(content)
    for name, content in (corpus.own() | corpus.of_cpython()).items()
    if corpus.handed_on(content)[:2] != b"\r\n"
}


@pytest.mark.parametrize("name", CORPUS)
async def test_s110_dkimpy_finds_each_signature_valid(name: str) -> None:
    """The author's domain of these messages is not ours, so ours signs as the default."""
    signer = await signer_of(RSA, ED, default_domain="example.com")
    message = CORPUS[name]
    signed = await sign(signer, message)
    assert isinstance(signed, bytes)
    if not signatures(signed)[len(signatures(message)) :]:
        reasons = no_author(message), has_no_field_line(message)
        assert any(reasons), "it was left unsigned for no reason"
        assert signed == message
        return
    ours = signatures(signed)[:2]
    assert [tags["s"] for tags in ours] == ["e1", "r1"]
    assert {"e1", "r1"} <= set(verified(signed, records_of(RSA, ED)))


def no_author(message: bytes) -> bool:
    header = message[: header_end(message)].lower()
    return b"\nfrom:" not in b"\n" + header and b"\nfrom " not in b"\n" + header


def has_no_field_line(message: bytes) -> bool:
    lines = message[: header_end(message)].split(b"\r\n")
    return any(line and line[:1] not in b" \t" and not line.partition(b":")[0].strip() for line in lines) or any(
        line and line[:1] not in b" \t" and b":" not in line for line in lines
    )


async def test_s110_the_body_is_made_7_bit_first_and_means_the_same() -> None:
    text = "Grüße aus der Stadt am Rhein\r\n" * 3
    message = MESSAGE.replace(b"hello\r\n", text.encode()).replace(
        b"Subject: hi\r\n", b"Subject: hi\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    )
    signed = await sign(await signer_of(RSA), message)
    assert isinstance(signed, bytes)
    assert signed.isascii()
    assert b"Content-Transfer-Encoding: quoted-printable" in signed
    assert verified(signed, records_of(RSA)) == ["r1"]


async def test_mail_that_came_signed_by_another_domain_is_not_converted() -> None:
    message = b"DKIM-Signature: v=1; d=other.test; s=x\r\n" + MESSAGE.replace(b"hello", "Grüße".encode())
    signed = await sign(await signer_of(RSA), message)
    assert isinstance(signed, bytes)
    assert signed.endswith(message)
    assert domains(signed) == ["example.com", "other.test"]


async def test_mail_that_its_domain_has_signed_already_stays_as_it_is() -> None:
    signer = await signer_of(RSA)
    signed = await sign(signer, MESSAGE)
    assert isinstance(signed, bytes)
    assert await sign(signer, signed) == signed


async def test_multipart_signed_is_signed_and_not_converted() -> None:
    body = 'MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\nGrüße\r\n--b--\r\n'
    message = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n" + body.encode()
    signed = await sign(await signer_of(RSA), message)
    assert isinstance(signed, bytes)
    assert signed.endswith(message)
    assert verified(signed, records_of(RSA)) == ["r1"]


async def test_the_nearest_parent_with_an_active_key_signs() -> None:
    near = entry_of("b.example.com", "near")
    signer = await signer_of(near, RSA)
    assert domains(await sign(signer, from_("x@a.b.example.com"))) == ["b.example.com"]
    assert domains(await sign(signer, from_("x@c.example.com"))) == ["example.com"]
    assert domains(await sign(signer, from_("x@myexample.com"))) == []


async def test_the_tenants_domain_signs_before_the_default() -> None:
    signer = await signer_of(entry_of("tenant.test"), entry_of("us.test"), default_domain="us.test")
    assert domains(await sign(signer, MESSAGE, "acme", "tenant.test")) == ["tenant.test"]
    assert domains(await sign(signer, MESSAGE, "acme", "gone.test")) == ["us.test"]
    assert domains(await sign(signer, MESSAGE)) == ["us.test"]


async def test_a_key_of_a_tenant_signs_its_mail_only() -> None:
    signer = await signer_of(entry_of("example.com", "own", tenant="acme"))
    assert domains(await sign(signer, MESSAGE, "acme")) == ["example.com"]
    assert domains(await sign(signer, MESSAGE, "rival")) == []
    assert domains(await sign(signer, MESSAGE)) == []


@pytest.mark.parametrize(
    ("author", "domain"),
    [
        ('"x@other.test" <a@example.com>', "example.com"),
        ("x (y@other.test) <a@example.com>", "example.com"),
        ("a@EXAMPLE.com, b@other.test", "example.com"),
        ("a@xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("a@bücher.test", "xn--bcher-kva.test"),
        ("nobody", ""),
        ("a@[192.0.2.1]", ""),
    ],
)
async def test_the_domain_is_that_of_the_mailbox(author: str, domain: str) -> None:
    signer = await signer_of(RSA, entry_of("xn--bcher-kva.test"), entry_of("other.test"))
    assert domains(await sign(signer, from_(author))) == ([domain] if domain else [])


async def test_two_from_fields_are_nobodys() -> None:
    signer = await signer_of(RSA)
    assert domains(await sign(signer, b"From: x@example.com\r\n" + MESSAGE)) == []


async def test_fields_are_signed_once_more_than_they_are_there() -> None:
    signed = await sign(await signer_of(RSA, oversign=("From", "List-Unsubscribe", "X-Own")), MESSAGE)
    assert isinstance(signed, bytes)
    names = signatures(signed)[0]["h"].split(":")
    assert (names.count("from"), names.count("list-unsubscribe"), names.count("x-own")) == (2, 1, 1)
    assert (names.count("to"), names.count("subject")) == (1, 1)
    assert verified(signed, records_of(RSA)) == ["r1"]
    assert verified(signed.replace(b"To:", b"List-Unsubscribe: <https://evil.test>\r\nTo:"), records_of(RSA)) == []


async def test_required_answers_451_where_mail_cannot_be_signed() -> None:
    signer = await signer_of(RSA, sign="required")
    assert signer.is_on
    assert domains(await sign(signer, MESSAGE)) == ["example.com"]
    for message in (
        from_("a@other.test"),
        b"Subject: no author\r\n\r\n",
        MESSAGE.replace(b"To: b", b"no field\r\nTo: b"),
    ):
        refusal = await sign(signer, message)
        assert isinstance(refusal, Reply)
        assert (refusal.code, refusal.enhanced) == (451, "4.7.5")
    assert signer.refused == 3
    assert (await signer_of(sign="required")).is_on


async def test_a_key_that_cannot_be_opened_defers_its_mail_and_no_other() -> None:
    seal = OpenSeal()
    seal.broken.add(f"dkim:{RSA.key.id}")
    signer = await signer_of(RSA, entry_of("other.test"), seal=seal)
    refusal = await sign(signer, MESSAGE)
    assert isinstance(refusal, Reply)
    assert refusal.code == 451
    assert domains(await sign(signer, from_("a@other.test"))) == ["other.test"]
    assert domains(await sign(signer, from_("a@third.test"))) == []


@pytest.mark.parametrize("line", ["a line of text\r\n", "eine Zeile mit Größe\r\n"])
async def test_a_large_message_is_signed_beside_the_loop(line: str) -> None:
    message = MESSAGE + line.encode() * 60_000
    found, at_once = await answer_to(await signer_of(RSA), message)
    assert isinstance(found, Signed)
    assert not at_once
    assert verified(b"".join((found.signatures, found.header, found.rest)), records_of(RSA)) == ["r1"]


async def test_messages_that_wait_for_signatures_are_bounded() -> None:
    class Nobody:
        """Gives no signature back until it is told to."""

        def __init__(self) -> None:
            self.jobs: list[Callable[[bytes | None], None]] = []

        def sign(self, private: bytes, digest: bytes, done: Callable[[bytes | None], None]) -> None:
            self.jobs.append(done)

    ring, beside, answers = KeyRing(KeysInMemory(RSA), OpenSeal()), Nobody(), list[Signed | Reply]()
    await ring.look()
    signer = MailSigner(DkimSettings(), ring, beside)
    message = MESSAGE + b"a line of text\r\n" * 16_000
    end = header_end(message)
    mail = Unsigned(message[:end], memoryview(message)[end:], "", "")
    while (answer := signer.sign(mail, answers.append)) is None:
        assert len(beside.jobs) < 1000
    assert isinstance(answer, Reply)
    assert answer.code == 452
    for job in beside.jobs:
        job(None)  # the signer signs itself
    assert len(answers) == len(beside.jobs)
    assert all(isinstance(answer, Signed) for answer in answers)
    assert signer.sign(mail, answers.append) is None


async def test_without_keys_nothing_is_done() -> None:
    assert not (await signer_of()).is_on
    assert not (await signer_of(RSA, sign="off")).is_on


@pytest.mark.parametrize("author", ["a@example.com", "a@sub.example.com", "x@other.test", '"a@b" <x@example.com>'])
@pytest.mark.parametrize("default", ["", "example.com"])
async def test_it_tells_before_whether_it_would_sign(author: str, default: str) -> None:
    signer, message = await signer_of(RSA, default_domain=default), from_(author)
    mail = Unsigned(message[: header_end(message)], b"\r\n", "", "")
    assert signer.would_sign(mail) is bool(domains(await sign(signer, message)))
    assert not (await signer_of(RSA, sign="off")).would_sign(mail)


async def test_it_would_not_sign_mail_that_its_domain_has_signed() -> None:
    signer = await signer_of(RSA)
    signed = await sign(signer, MESSAGE)
    assert isinstance(signed, bytes)
    assert not signer.would_sign(Unsigned(signed[: header_end(signed)], b"\r\n", "", ""))
