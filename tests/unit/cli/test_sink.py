import asyncio
from pathlib import Path

import aiosmtplib
import pytest

from mta.cli.sink import Destination, ScriptedSmtp, read_script
from mta.model.errors import BadValue


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "script.toml"
    path.write_text(text)
    return path


async def dialog(tmp_path: Path, text: str, recipient: str) -> tuple[Destination, str]:
    destination = Destination(read_script(script(tmp_path, text)), quiet=True)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ScriptedSmtp(destination), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, timeout=60, start_tls=None)
        async with client:
            _, reply = await client.sendmail("a@example.com", [recipient], b"Subject: x\r\n\r\nx\r\n")
        return destination, reply
    except aiosmtplib.SMTPRecipientsRefused as error:
        return destination, f"{error.recipients[0].code} {error.recipients[0].message}"
    except aiosmtplib.SMTPResponseException as error:
        return destination, f"{error.code} {error.message}"
    except (aiosmtplib.SMTPException, OSError) as error:
        return destination, type(error).__name__
    finally:
        server.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]\n", "is not TOML: "),
        ("x = 1\n", "x: unknown key; a script holds"),
        ("[rule]\naction = 'defer'\n", "rule: is one table; write [[rule]]"),
        ("[[rule]]\naction = 'defer'\ncolour = 1\n", "rule 1: colour: unknown key; the keys are to, at"),
        ("[[rule]]\nat = 'rcpt'\n", "rule 1: action: is missing; use one of defer, refuse"),
        ("[[rule]]\naction = 'eat'\n", "rule 1: action: 'eat' is not known"),
        ("[[rule]]\naction = 'drop'\nat = 'quit'\n", "rule 1: at: 'quit' is not known"),
        ("[[rule]]\naction = 'drop'\nto = 3\n", "rule 1: to: is not a pattern"),
        ("[[rule]]\naction = 'drop'\nat = 'mail'\nto = 'a@b'\n", 'rule 1: to: no recipient is known at "mail"'),
        ("[[rule]]\naction = 'defer'\ncode = 550\n", "rule 1: code: 550 does not defer; use 400 to 499"),
        ("[[rule]]\naction = 'drop'\ncode = 550\n", "rule 1: code: goes with defer and refuse only"),
        ('[[rule]]\naction = "defer"\ntext = "a\\nb"\n', "rule 1: text: must be one line"),
        ("[[rule]]\naction = 'defer'\nseconds = 1\n", "rule 1: seconds: goes with stall and delay only"),
        ("[[rule]]\naction = 'delay'\nseconds = 'x'\n", "rule 1: seconds: 'x' is not a duration"),
        ("[[rule]]\naction = 'drop'\n[[rule]]\naction = 'drop'\npercent = 0\n", "rule 2: percent: 0 is not a number"),
    ],
)
def test_a_bad_script_is_refused_naming_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = script(tmp_path, text)
    with pytest.raises(BadValue) as raised:
        read_script(path)
    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"none\.toml: cannot be read"):
        read_script(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("", "2.0.0 Ok"),
        ("[[rule]]\nto='*@B.example'\naction='defer'\ncode=452\ntext='4.2.2 full'\n", "452 4.2.2 full"),
        ("[[rule]]\nto='*@other.example'\naction='refuse'\n", "2.0.0 Ok"),
        ("[[rule]]\naction='refuse'\nat='mail'\n", "550 5.7.1 refused by script"),
        ("[[rule]]\naction='defer'\nat='data'\n", "451 4.7.1 deferred by script"),
        ("[[rule]]\naction='refuse'\nat='dot'\nto='*@b.example'\ncode=554\n", "554 5.7.1 refused by script"),
        ("[[rule]]\naction='drop'\nat='rcpt'\n", "SMTPServerDisconnected"),
        ("[[rule]]\naction='drop'\nat='dot'\n", "SMTPServerDisconnected"),
    ],
)
async def test_the_script_decides_what_the_client_hears(tmp_path: Path, text: str, reply: str) -> None:
    destination, heard = await dialog(tmp_path, text, "u@b.example")
    assert heard == reply
    assert destination.receipts == (1 if reply == "2.0.0 Ok" else 0)


async def test_a_refusal_at_connect_replaces_the_greeting(tmp_path: Path) -> None:
    destination, heard = await dialog(tmp_path, "[[rule]]\naction='refuse'\nat='connect'\ncode=554\n", "u@b.example")
    assert heard.startswith("554") or heard == "SMTPConnectError"
    assert destination.actions == {"refuse": 1}


async def test_a_delay_waits_and_then_takes_the_message(tmp_path: Path) -> None:
    start = asyncio.get_running_loop().time()
    destination, heard = await dialog(tmp_path, "[[rule]]\naction='delay'\nat='dot'\nseconds='200ms'\n", "u@b.example")
    assert heard == "2.0.0 Ok"
    assert asyncio.get_running_loop().time() - start >= 0.19
    assert destination.summary()["actions"] == {"delay": 1}
