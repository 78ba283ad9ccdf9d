"""The beginning of a connection against scripted peers: one set of rules for the greeting, EHLO, HELO and STARTTLS."""

import pathlib

import pytest

from mta.model.outcomes import Origin, Outcome, Verdict
from tests.support.certificates import self_signed
from tests.support.egress_rig import Rig
from tests.support.scripted_peer import CLOSE, RESET, SILENT, Act, Pieces, Read, Script, ScriptedPeer

EHLO = b"250-peer.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"


async def attempt(peer: ScriptedPeer, **settings: object) -> Outcome:
    """The outcome of one message of eight-bit content to the peer."""
    await peer.listen()
    try:
        async with Rig(route=peer.address, command_timeout=2.0, greeting_timeout=2.0, **settings) as rig:
            rig.send("a@example.com", content=b"caf\xc3\xa9\r\n", needs_8bit=True)
            (outcome,) = await rig.settle.until(1)
            return outcome
    finally:
        await peer.close()


@pytest.mark.parametrize("phase", ["GREETING", "EHLO", "STARTTLS"])
@pytest.mark.parametrize(
    ("words", "shown"),
    [(b"999 x\r\n", "999 x"), (b"199 x\r\n", "199 x"), (b"hola\r\n", "hola"), (b"\x16\x03\x01\r\n", "\x16\x03\x01")],
)
async def test_k9_d8_what_is_no_reply_is_told_at_every_command(phase: str, words: bytes, shown: str) -> None:
    outcome = await attempt(ScriptedPeer({phase: (words,)}), tls="required")
    assert (outcome.verdict, outcome.origin, outcome.unintelligible) == (Verdict.TEMPORARY, Origin.LOCAL, True)
    assert (outcome.reply.code, outcome.reply.enhanced) == (451, "4.5.0")
    assert outcome.reply.text.endswith(f"no SMTP reply: {shown}")


@pytest.mark.parametrize("size", [1, 2, 7, 1400])
async def test_d3_any_split_of_greeting_and_ehlo_is_read(size: int) -> None:
    script: Script = {"GREETING": (Pieces(b"220-a\r\n220 b\r\n", size),), "EHLO": (Pieces(EHLO, size),)}
    outcome = await attempt(ScriptedPeer(script))
    assert outcome.verdict is Verdict.DELIVERED


@pytest.mark.parametrize("size", [1400, 1 << 20])
async def test_d3_long_replies_of_the_beginning_are_read(size: int) -> None:
    greeting = b"220 " + b"x" * 12_000 + b"\r\n"
    ehlo = b"250-peer\r\n250 8BITMIME\r\n".replace(b"peer", b"p" * 12_000)
    outcome = await attempt(ScriptedPeer({"GREETING": (Pieces(greeting, size),), "EHLO": (Pieces(ehlo, size),)}))
    assert outcome.verdict is Verdict.DELIVERED


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ({"GREETING": (b"220 a\r\n421 4.3.2 full\r\n", CLOSE)}, "full"),
        ({"GREETING": (b"220 a\r\n", b"421 4.3.2 full\r\n", CLOSE)}, "full"),
        ({"EHLO": (EHLO + b"421 4.3.2 full\r\n", CLOSE)}, "full"),
        ({"STARTTLS": (b"421 4.3.2 full\r\n", CLOSE)}, "full"),
    ],
)
async def test_d4_an_early_421_is_the_answer_to_the_next_command(script: Script, text: str) -> None:
    outcome = await attempt(ScriptedPeer(script), tls="required" if "STARTTLS" in script else "none")
    assert (outcome.verdict, outcome.origin) == (Verdict.TEMPORARY, Origin.REMOTE)
    assert (outcome.reply.code, outcome.reply.text) == (421, text)


@pytest.mark.parametrize("script", [{"GREETING": (b"220 a\r\n220 a\r\n",)}, {"EHLO": (EHLO + b"250 ok\r\n",)}])
async def test_d4_an_early_yes_breaks_the_beginning(script: Script) -> None:
    outcome = await attempt(ScriptedPeer(script))
    assert (outcome.verdict, outcome.unintelligible) == (Verdict.TEMPORARY, True)
    assert "before it was asked" in outcome.reply.text


@pytest.mark.parametrize("end", [CLOSE, RESET])
async def test_d6_ehlo_refused_and_closed_is_temporary_and_helo_comes_next(end: Act) -> None:
    peer = ScriptedPeer({"EHLO": (b"500 what\r\n", end)}, extensions=())
    await peer.listen()
    async with Rig(route=peer.address) as rig:
        rig.send("a@example.com")
        (first,) = await rig.settle.until(1)
        rig.send("b@example.org")  # a queue of its own: that of the first backs off
        _, second = await rig.settle.until(2)
    await peer.close()
    assert (first.verdict, first.origin, first.reply.enhanced) == (Verdict.TEMPORARY, Origin.LOCAL, "4.4.2")
    assert "500 what" in first.reply.text
    assert not first.unintelligible
    assert second.verdict is Verdict.DELIVERED
    assert [peer.verbs(0)[0], peer.verbs(1)[0]] == ["EHLO", "HELO"]


async def test_d6_helo_follows_on_the_connection_where_that_stays_open() -> None:
    peer = ScriptedPeer({"EHLO": (b"502 5.5.1 what\r\n",), "HELO": (b"250 peer\r\n",)})
    outcome = await attempt(peer)
    assert (outcome.verdict, outcome.reply.enhanced) == (Verdict.PERMANENT, "5.6.3")  # HELO offers no 8BITMIME
    assert peer.verbs(0)[:2] == ["EHLO", "HELO"]


@pytest.mark.parametrize("script", [{"GREETING": (SILENT,)}, {"EHLO": (SILENT,)}, {"EHLO": (b"250-begun", SILENT)}])
async def test_silence_ends_in_a_timeout(script: Script) -> None:
    outcome = await attempt(ScriptedPeer(script))
    assert (outcome.verdict, outcome.unintelligible) == (Verdict.TEMPORARY, False)
    assert "timed out" in outcome.reply.text


async def test_d8_bytes_without_an_end_are_shown_when_the_server_closes() -> None:
    outcome = await attempt(ScriptedPeer({"GREETING": (b"\x15\x03\x01\x00\x02", CLOSE)}))
    assert outcome.unintelligible
    assert "\x15\x03\x01" in outcome.reply.text


async def test_c90_text_in_the_clear_behind_the_reply_to_starttls_counts_for_nothing(tmp_path: pathlib.Path) -> None:
    script: Script = {"STARTTLS": (b"220 go\r\n250 injected\r\n",)}
    outcome = await attempt(ScriptedPeer(script, tls=self_signed(tmp_path)), tls="required")
    assert outcome.verdict is Verdict.TEMPORARY
    assert "in the clear" in outcome.reply.text


async def test_c90_extensions_of_the_encrypted_session_count(tmp_path: pathlib.Path) -> None:
    outcome = await attempt(ScriptedPeer({}, tls=self_signed(tmp_path)), tls="required")
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.tls


async def test_c90_required_tls_that_is_not_offered_is_told() -> None:
    outcome = await attempt(ScriptedPeer({}), tls="required")
    assert (outcome.verdict, outcome.reply.enhanced) == (Verdict.TEMPORARY, "4.7.5")
    assert "does not offer STARTTLS" in outcome.reply.text


@pytest.mark.parametrize("tls", ["none", "required"])
@pytest.mark.parametrize("end", [CLOSE, RESET, SILENT])
async def test_d4_a_552_during_a_large_body_is_read_with_and_without_tls(
    tmp_path: pathlib.Path, tls: str, end: Act
) -> None:
    peer = ScriptedPeer({"BODY": (Read(65536), b"552 5.3.4 too big\r\n", end)}, tls=self_signed(tmp_path))
    await peer.listen()
    async with Rig(route=peer.address, tls=tls) as rig:
        rig.send("a@example.com", content=b"0123456789abcde\r\n" * 500_000)
        (outcome,) = await rig.settle.until(1)
    await peer.close()
    assert (outcome.verdict, outcome.reply.code, outcome.reply.text) == (Verdict.PERMANENT, 552, "too big")
    assert outcome.reason == "sending the message (127.0.0.1)"
    assert not outcome.uncertain
    assert peer.copies == []
