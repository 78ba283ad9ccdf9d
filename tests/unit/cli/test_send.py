import asyncio
import threading
from collections.abc import Iterator

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from click.testing import CliRunner

from mta.cli.send import command, prepared, queue_id, recipients_of
from mta.model.errors import BadValue


class Receiver:
    def __init__(self) -> None:
        self.content = b""
        self.recipients: list[str] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("bad"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.content = bytes(envelope.content or b"")
        self.recipients = envelope.rcpt_tos
        return "250 2.0.0 queued as 01HZZZZZZZZZZZZZZZZZZZZZZZ"


@pytest.fixture
def peer() -> Iterator[tuple[Receiver, str]]:
    receiver = Receiver()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    bound: list[asyncio.Server] = []

    async def listen() -> None:
        bound.append(await loop.create_server(lambda: SMTP(receiver, loop=loop), "127.0.0.1", 0))
        ready.set()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(60)
    yield receiver, f"127.0.0.1:{bound[0].sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    bound[0].close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_every_kind_of_line_end_becomes_crlf_and_the_last_line_gets_one() -> None:
    assert prepared(b"A: b\n\nx\ry\r\nz", (), None) == b"A: b\r\n\r\nx\r\ny\r\nz\r\n"


def test_tags_and_pool_come_first_as_headers() -> None:
    assert prepared(b"A: b\n", ("x,y", "z"), "p") == b"X-MQ-Tag: x,y\r\nX-MQ-Tag: z\r\nX-MQ-Pool: p\r\nA: b\r\n"


@pytest.mark.parametrize("tag", ["", " ", "a\r\nBcc: x"])
def test_a_tag_that_cannot_stand_in_a_header_is_refused(tag: str) -> None:
    with pytest.raises(BadValue, match="--tag"):
        prepared(b"A: b\n", (tag,), None)


def test_a_reply_without_an_id_is_shown_as_it_is() -> None:
    assert queue_id("2.0.0 queued as 01ABC") == "01ABC"
    assert queue_id("ok, got it") == "ok, got it"


def test_the_queue_id_is_printed_and_the_message_arrives(peer: tuple[Receiver, str]) -> None:
    receiver, address = peer
    arguments = ["--smtp", address, "--from", "a@example.com", "--to", "b@example.com", "--tag", "t"]
    result = CliRunner().invoke(command, arguments, input="Subject: x\n\nhello\n")
    assert (result.exit_code, result.stdout) == (0, "01HZZZZZZZZZZZZZZZZZZZZZZZ\n")
    assert receiver.content == b"X-MQ-Tag: t\r\nSubject: x\r\n\r\nhello\r\n"


def test_a_refused_message_ends_with_1_and_the_words_of_the_server(peer: tuple[Receiver, str]) -> None:
    arguments = ["--smtp", peer[1], "--from", "a@example.com", "--to", "bad@example.com"]
    result = CliRunner().invoke(command, arguments, input="Subject: x\n\nhello\n")
    assert result.exit_code == 1
    assert "550 5.1.1 no such user here" in result.stderr


def test_one_refused_recipient_of_two_is_told_and_ends_with_1(peer: tuple[Receiver, str]) -> None:
    arguments = ["--smtp", peer[1], "--from", "a@example.com", "--to", "bad@example.com", "--to", "b@example.com"]
    result = CliRunner().invoke(command, arguments, input="Subject: x\n\nhello\n")
    assert result.exit_code == 1
    assert result.stdout == "01HZZZZZZZZZZZZZZZZZZZZZZZ\n"
    assert "bad@example.com: 550" in result.stderr
    assert peer[0].recipients == ["b@example.com"]


def test_a_server_that_is_not_there_ends_with_1() -> None:
    arguments = ["--smtp", "127.0.0.1:1", "--from", "a@example.com", "--to", "b@example.com"]
    result = CliRunner().invoke(command, arguments, input="x\n")
    assert result.exit_code == 1
    assert result.stderr.startswith("floodgate send: 127.0.0.1:1: ")


def test_o1_each_address_of_a_list_gets_the_message(peer: tuple[Receiver, str]) -> None:
    receiver, address = peer
    arguments = [
        "--smtp",
        address,
        "--from",
        "a@example.com",
        "--to",
        "e@x.example, F <f@x.example>",
        "--to",
        "g@x.example",
    ]
    result = CliRunner().invoke(command, arguments, input="Subject: x\n\nhello\n")
    assert result.exit_code == 0, result.output
    assert receiver.recipients == ["e@x.example", "f@x.example", "g@x.example"]


_NO_LISTS = ["e@x.example f@x.example", "e@x.example;f@x.example", "e@x.example,", "e@x.example,,f@x.example"]


@pytest.mark.parametrize(
    ("option", "value"),  # an empty sender is the null sender
    [*((option, value) for option in ("--to", "--from") for value in _NO_LISTS), ("--to", "")],
)
def test_o1_what_is_no_list_of_addresses_is_refused_and_nothing_is_sent(option: str, value: str) -> None:
    nobody = "127.0.0.1:9"  # a connection to it would end with 1
    arguments = {"--smtp": nobody, "--from": "a@example.com", "--to": "b@example.com"} | {option: value}
    result = CliRunner().invoke(command, [word for pair in arguments.items() for word in pair], input="x\n")
    assert result.exit_code == 2, result.output
    assert option in result.stderr


def test_a_quoted_local_part_may_hold_a_comma() -> None:
    assert recipients_of(['"a,b"@x.example,c@x.example']) == ['"a,b"@x.example', "c@x.example"]
