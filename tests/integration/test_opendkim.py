"""OpenDKIM finds every signature valid that is made over the corpus (S110)."""

import json
import subprocess
import sys
from pathlib import Path

from mta.content.header_block import header_end
from mta.model.dkim_keys import Algorithm
from mta.model.settings import DkimSettings
from mta.signing.key_ring import KeyRing
from mta.signing.mail_signer import MailSigner
from tests.support import corpus
from tests.support.dkim_keys import KeysInMemory, OpenSeal, entry_of, records_of, signed
from tests.support.needs import needs
from tests.support.sources import ROOT

# OpenDKIM refuses a message without one From and one Date before it looks at signatures (RFC 5322 3.6).
WHOLE = b"From: Some One <a@example.com>\r\nDate: Mon, 30 Nov 2026 10:00:00 +0000\r\n"
# It refuses these for their header, whatever signs them.
REFUSED = {
    "cpython-msg_20": "three fields Cc",
    "duplicate-headers": "two fields Subject, To and Message-ID",
    "next-line-in-headers": "vertical tabs and form feeds are blanks for it, and not in RFC 6376 (3.4.2 names WSP)",
}


def whole(message: bytes) -> bytes:
    """The message with the fields that every message must have once."""
    end = header_end(message)
    names = [line.partition(b":")[0].strip().lower() for line in message[:end].split(b"\r\n")]
    return message if names.count(b"from") == names.count(b"date") == 1 else WHOLE + without(message, end)


def without(message: bytes, end: int) -> bytes:
    lines = message[:end].replace(b"\r\n ", b"\0 ").replace(b"\r\n\t", b"\0\t").split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in (b"from", b"date")]
    return b"\r\n".join(kept).replace(b"\0", b"\r\n") + message[end:]


@needs("opendkim-testmsg")
@needs("unshare")
async def test_s110_opendkim_finds_each_signature_valid(tmp_path: Path) -> None:
    entries = entry_of("example.com", "r1", Algorithm.RSA), entry_of("example.com", "e1")
    rsa, both = KeyRing(KeysInMemory(entries[0]), OpenSeal()), KeyRing(KeysInMemory(*entries), OpenSeal())
    for ring in (rsa, both):
        await ring.look()
    records = records_of(*entries)
    (tmp_path / "records.json").write_text(json.dumps(records))
    settings, names = DkimSettings(default_domain="example.com"), []
    for name, content in (corpus.own() | corpus.of_cpython()).items():
        message = whole(corpus.handed_on(content))
        for kind, ring in (("rsa", rsa), ("both", both)):
            made = await signed(MailSigner(settings, ring), message)
            assert isinstance(made, bytes)
            if made != message:
                names.append(f"{name}.{kind}")
                (tmp_path / f"{names[-1]}.eml").write_bytes(made)
                (tmp_path / f"{names[-1]}.changed.eml").write_bytes(made + b"more\r\n")
    found = judged(tmp_path)
    assert len(names) > 100
    wrong = {name: found[name] for name in names if found[name] and name.partition(".")[0] not in REFUSED}
    assert wrong == {}
    assert all(found[f"{name}.rsa"] for name in REFUSED if f"{name}.rsa" in names), "it takes them now"
    changed = [name for name in names if not found[f"{name}.changed"]]
    assert changed == [], "a message that was changed is taken, too"


def judged(folder: Path) -> dict[str, str]:
    """The words of OpenDKIM about each message, "" where it is well signed."""
    room = ["unshare", "--net", "--mount", "--map-root-user"]
    command = [*room, sys.executable, "-m", "tests.support.opendkim_room", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=110)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, str] = json.loads(ran.stdout)
    return answer


def test_the_message_with_its_fields_is_whole() -> None:
    assert whole(b"Subject: x\r\nFrom: b\r\n c\r\n\r\nbody") == WHOLE + b"Subject: x\r\n\r\nbody"
