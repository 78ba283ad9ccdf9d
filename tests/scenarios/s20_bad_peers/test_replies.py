"""Destinations whose replies are noisy, long, early, odd, or none at all: D2, D3, D4, D6, D8, D11, K9."""

import pytest

from tests.scenarios.s20_bad_peers.conftest import ENDS
from tests.support.node import until
from tests.support.scripted_peer import CLOSE, RESET, SILENT, Act, Pieces, Read, ScriptedPeer

LONG = b"250 2.0.0 " + b"x" * 12_000 + b"\r\n"
MANY = b"250-2.0.0 line\r\n" * 4999 + b"250 2.0.0 end\r\n"
REFUSAL = b"550 5.7.1 " + b"y" * 12_000 + b"\r\n"
TAKEN = b"250 2.0.0 taken\r\n"
LARGE = "0123456789" * 7 + "\r\n"

NOISE: dict[str, tuple[Act, ...]] = {
    "noise-421lf": (TAKEN + b"421 bye\n", CLOSE),
    "noise-421": (TAKEN + b"421 bye\r\n", CLOSE),
    "noise-junk": (TAKEN + b"\x00\xffwhat\r\n", CLOSE),
    "noise-twice": (TAKEN + TAKEN,),
    "noise-999": (TAKEN + b"999 x\r\n",),
    "noise-begun": (TAKEN + b"250-more", CLOSE),
    "noise-reset": (TAKEN + b"what\r\n", RESET),
    "noise-octets": (Pieces(TAKEN + b"what\r\n", 1), CLOSE),
}
LENGTHS: dict[str, tuple[Act, ...]] = {
    "long-pieces": (Pieces(LONG, 1400),),
    "long-whole": (LONG,),
    "long-many": (MANY,),
    "long-many-pieces": (Pieces(MANY, 1400),),
    "long-550": (Pieces(REFUSAL, 1400),),
}
EARLY: dict[str, tuple[Act, ...]] = {
    "early-552-close": (Read(65536), b"552 5.3.4 too big\r\n", CLOSE),
    "early-552-reset": (Read(65536), b"552 5.3.4 too big\r\n", RESET),
    "early-552-reads-on": (Read(65536), b"552 5.3.4 too big\r\n", SILENT),
    "early-552-at-once": (b"552 5.3.4 too big\r\n", SILENT),
    "early-421": (Read(65536), b"421 4.3.2 full\r\n", CLOSE),
    "early-451": (Read(65536), b"451 4.3.0 later\r\n", SILENT),
}
CODES: dict[str, dict[str, tuple[Act, ...]]] = {
    f"code-{phase.lower()}": {phase: (b"999 x\r\n",)} for phase in ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT")
} | {"code-helo": {"EHLO": (b"500 what\r\n",), "HELO": (b"199 x\r\n",)}}
UNDERSTOOD: dict[str, tuple[Act, ...]] = {
    "odd-codes": (b"550-5.7.1 x\r\n554 5.7.1 y\r\n",),
    "odd-line": (b"550-5.7.1 see\r\nhttp://x.test/\r\n550 5.7.1 end\r\n",),
}
MIXED = b"250-peer.example\r\n\r\n250-SIZE 104857600\r\n\r\n250-8BITMIME\r\n250 PIPELINING\r\n"

SETS = {"delivery__greeting_timeout": "8s"}
PEERS = (
    {name: ScriptedPeer({"DOT": acts}) for name, acts in (NOISE | LENGTHS).items()}
    | {name: ScriptedPeer({"BODY": acts}) for name, acts in EARLY.items()}
    | {name: ScriptedPeer(script) for name, script in CODES.items()}
    | {name: ScriptedPeer({"RCPT": acts}, extensions=("8BITMIME",)) for name, acts in UNDERSTOOD.items()}
    | {
        "early-rcpt": ScriptedPeer({"MAIL": (b"250 ok\r\n550 5.7.1 blocked\r\n", CLOSE)}, extensions=()),
        "early-held": ScriptedPeer({"DATA": (b"354 go\r\n421 4.3.2 full\r\n", CLOSE)}),
        "early-yes": ScriptedPeer({"DATA": (b"354 go\r\n250 2.0.0 taken\r\n",)}),
        "ehlo-empty-lines": ScriptedPeer({"EHLO": (MIXED,)}),
        "ehlo-split": ScriptedPeer({"GREETING": (Pieces(b"220-a\r\n220 b\r\n", 1),), "EHLO": (Pieces(MIXED, 3),)}),
        "ehlo-long": ScriptedPeer({"EHLO": (b"250-" + b"x" * 20_000 + b"\r\n250 PIPELINING\r\n",)}),
        "nonsense": ScriptedPeer({"MAIL": (b"hola amigo\r\n",)}),
        "nonsense-greeting": ScriptedPeer({"GREETING": (b"SSH-2.0-OpenSSH_9.2\r\n",)}),
        "nonsense-no-end": ScriptedPeer({"GREETING": (b"\x15\x03\x01\x00\x02", CLOSE)}),
        "ehlo-500": ScriptedPeer({"EHLO": (b"500 what\r\n", CLOSE)}),
        "ehlo-500-reset": ScriptedPeer({"EHLO": (b"500 what\r\n", RESET)}),
        "ehlo-500-421": ScriptedPeer({"EHLO": (b"500 what\r\n421 bye\r\n", CLOSE)}),
        "ehlo-500-helo-421": ScriptedPeer(
            {"EHLO": (b"500 what\r\n",), "HELO": (b"421 bye\r\n", CLOSE)}, later={"EHLO": (b"500 what\r\n", CLOSE)}
        ),
        "ill-greeting": ScriptedPeer({"GREETING": (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", CLOSE)}),
        "ill-ehlo": ScriptedPeer({"EHLO": (b"what\r\n", CLOSE)}),
        "silent-greeting": ScriptedPeer({"GREETING": (SILENT,)}),
        "silent-ehlo": ScriptedPeer({"EHLO": (SILENT,)}),
        "plain-554": ScriptedPeer({"DOT": (b"554 5.7.1 spam\r\n",)}),
        "plain-421": ScriptedPeer({"RCPT": (b"421 4.3.2 busy\r\n", CLOSE)}),
        "lost-dots": ScriptedPeer({"DOT": (CLOSE,)}),
        "lost-then-refused": ScriptedPeer({"DOT": (CLOSE,)}, later={"MAIL": (b"550 5.7.1 no\r\n",)}),
        "lost-then-taken": ScriptedPeer({"DOT": (CLOSE,)}, later={}),
    }
)


@pytest.mark.parametrize("name", NOISE)
def test_d2_reply_and_noise_in_one_segment(town, name):
    town.send(name)
    line = town.end(name)
    assert (line["type"], line["code"], line["text"]) == ("Delivery", 250, "taken")
    assert len(town.lines(name)) == 1
    assert len(town.peers[name].copies) == 1


@pytest.mark.parametrize("name", LENGTHS)
def test_d3_the_code_of_a_long_reply_is_taken_and_its_text_cut(town, name):
    town.send(name)
    line = town.end(name)
    assert (line["type"], line["code"]) == (("Bounce", 550) if name == "long-550" else ("Delivery", 250))
    assert line["enhanced"] == ("5.7.1" if name == "long-550" else "2.0.0")
    assert 0 < len(line["text"]) <= 1024
    assert len(town.peers[name].copies) == 1


@pytest.mark.parametrize("name", [name for name in EARLY if "552" in name])
def test_d4_a_552_while_the_body_is_sent_is_the_answer(town, name):
    town.send(name, text=LARGE * 70_000)
    line = town.first(name)
    assert (line["type"], line["code"], line["enhanced"], line["text"]) == ("Bounce", 552, "5.3.4", "too big")
    assert line["reason"] == "sending the message (127.0.0.1)"
    assert "uncertain" not in line
    assert town.peers[name].copies == []
    assert town.peers[name].octets < 5_000_000


@pytest.mark.parametrize(("name", "text"), [("early-421", "full"), ("early-451", "later"), ("early-held", "full")])
def test_d4_a_4xx_while_the_body_is_sent_defers_with_its_text(town, name, text):
    town.send(name, attempts=1, text=LARGE * 70_000)
    line = town.end(name)
    assert (line["type"], line["text"], line["origin"]) == ("Expiration", text, "remote")
    assert line["reason"] == "sending the message (127.0.0.1)"
    assert town.peers[name].copies == []


def test_d4_a_refusal_before_the_next_command_is_the_answer(town):
    town.send("early-rcpt")
    line = town.first("early-rcpt")
    assert (line["type"], line["code"], line["text"]) == ("Bounce", 550, "blocked")
    assert line["reason"] == "sending RCPT (127.0.0.1)"


def test_d4_a_yes_before_the_dot_is_not_believed(town):
    town.send("early-yes", attempts=1)
    line = town.end("early-yes")
    assert (line["type"], line["origin"]) == ("Expiration", "local")
    assert "250 before it was asked" in line["text"]
    assert town.peers["early-yes"].copies == []


def test_d6_a_host_that_closes_at_ehlo_is_greeted_with_helo_next(town):
    for name in ("ehlo-500", "ehlo-500-reset"):
        town.send(name)
    for name in ("ehlo-500", "ehlo-500-reset"):
        line = town.first(name)
        assert (line["type"], line["origin"]) == ("TransientFailure", "local")
        assert "500 what" in line["text"]
        assert town.end(name)["type"] == "Delivery"
        helo = [verbs for n in range(len(town.peers[name].commands)) if (verbs := town.peers[name].verbs(n))]
        assert helo[0] == ["EHLO"]
        assert helo[-1][:2] == ["HELO", "MAIL"]
        assert len(helo) <= 3  # each of two workers learns it for itself


def test_d6_a_421_behind_the_500_is_no_answer_to_helo(town):
    for name in ("ehlo-500-421", "ehlo-500-helo-421"):
        town.send(name)
    for name in ("ehlo-500-421", "ehlo-500-helo-421"):
        assert town.end(name)["type"] == "Delivery"
        assert "500 what" in town.first(name)["text"]
        helo = [verbs for n in range(len(town.peers[name].commands)) if (verbs := town.peers[name].verbs(n))]
        assert helo[0][0] == "EHLO"
        assert helo[-1][:2] == ["HELO", "MAIL"]


@pytest.mark.parametrize("name", ["ill-greeting", "ill-ehlo"])
def test_d7_d8_a_host_that_is_ill_for_three_attempts_ends_one_message_at_most(town, name):
    peer = town.peers[name]
    town.node.send([f"m{n}@{name}.test" for n in range(20)])
    until(lambda: len(peer.commands) >= 6)
    peer.script = {}
    until(lambda: len([line for line in town.lines(name) if line["type"] in ENDS]) >= 20)
    bounced = [line for line in town.lines(name) if line["type"] == "Bounce"]
    assert len(bounced) <= len(peer.commands) // 3
    assert len(peer.copies) == 20 - len(bounced) >= 14


def test_d1_one_message_to_a_silent_host_opens_one_connection(town):
    for name in ("silent-greeting", "silent-ehlo"):
        town.send(name, attempts=1)
    for name in ("silent-greeting", "silent-ehlo"):
        assert "timed out" in town.end(name)["text"]
        assert len(town.peers[name].commands) == 1


@pytest.mark.parametrize(
    ("name", "code", "text"), [("odd-codes", 554, "x y"), ("odd-line", 550, "see http://x.test/ end")]
)
def test_d8_a_reply_that_can_be_understood_counts(town, name, code, text):
    town.send(name)
    line = town.first(name)
    assert (line["type"], line["code"], line["enhanced"], line["text"]) == ("Bounce", code, "5.7.1", text)


@pytest.mark.parametrize("name", ["ehlo-empty-lines", "ehlo-split", "ehlo-long"])
def test_d8_extensions_are_read_from_an_odd_reply_to_ehlo(town, name):
    town.send(name)
    assert town.first(name)["type"] == "Delivery"
    assert town.peers[name].verbs(0)[:4] == ["EHLO", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize(
    ("name", "seen"),
    [("nonsense", "hola amigo"), ("nonsense-greeting", "SSH-2.0-OpenSSH_9.2"), ("nonsense-no-end", "\\x15\\x03\\x01")],
)
def test_d8_what_cannot_be_understood_ends_after_three_attempts(town, name, seen):
    town.send(name)
    line = town.end(name)
    assert (line["type"], line["code"], line["enhanced"], line["attempt"]) == ("Bounce", 554, "5.5.0", 3)
    assert [one["type"] for one in town.lines(name)] == ["TransientFailure", "TransientFailure", "Bounce"]
    for one in town.lines(name):
        assert seen.encode().decode("unicode_escape") in one["text"].encode().decode("unicode_escape")


@pytest.mark.parametrize("name", CODES)
def test_k9_a_code_outside_200_to_599_is_no_reply(town, name):
    town.send(name)
    line = town.first(name)
    assert (line["type"], line["code"], line["origin"]) == ("TransientFailure", 451, "local")
    assert "no SMTP reply" in line["text"]
    assert ("uncertain" in line) is (name == "code-dot")
    phase = {"greeting": "waiting for the greeting", "helo": "sending EHLO", "dot": "sending end of data"}
    command = name.removeprefix("code-")
    assert line["reason"].startswith(phase.get(command, f"sending {command.upper()}"))


def test_d11_a_plain_refusal_of_the_message_is_certain(town):
    town.send("plain-554")
    line = town.first("plain-554")
    assert (line["type"], line["reason"]) == ("Bounce", "sending end of data (127.0.0.1)")
    assert "uncertain" not in line
    assert "more than once" not in str(line)


def test_d11_the_phase_is_that_of_the_command_answered(town):
    town.send("plain-421", attempts=1)
    line = town.end("plain-421")
    assert (line["text"], line["reason"]) == ("busy", "sending RCPT (127.0.0.1)")


def test_d11_an_expiration_after_lost_dots_says_uncertain(town):
    message = town.send("lost-dots", attempts=2)
    line = town.end("lost-dots")
    assert (line["type"], line["uncertain"]) == ("Expiration", True)
    assert line["reason"] == "sending end of data (the message may be delivered more than once) (127.0.0.1)"
    assert [one["uncertain"] for one in town.lines("lost-dots")] == [True, True]
    status, record = town.node.call("GET", f"/v1/messages/{message}")
    assert (status, record["recipients"][0]["uncertain"]) == (200, True)


@pytest.mark.parametrize(
    ("name", "ends", "doubt"), [("lost-then-refused", "Bounce", True), ("lost-then-taken", "Delivery", None)]
)
def test_d11_an_earlier_lost_dot_stays_in_doubt_until_it_is_delivered(town, name, ends, doubt):
    message = town.send(name)
    line = town.end(name)
    assert (line["type"], line.get("uncertain")) == (ends, doubt)
    assert "more than once" not in line.get("reason", "")
    record = until(lambda: town.node.call("GET", f"/v1/messages/{message}")[1])
    assert record["recipients"][0].get("uncertain") is doubt
