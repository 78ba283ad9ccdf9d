"""The cost of DKIM signatures: `python -m tests.measure.signing [--seconds N]`.

Prints, for each kind of key and each size of message, microseconds of CPU a message: in the worker's event loop, and in
the signing process beside it; and messages a second of one worker that does nothing else. The share of each step of the
loop's work follows. Nothing is sent or stored.
"""

import argparse
import asyncio
import time
from collections.abc import Callable

import psutil

from mta.content.canonical_form import body_digest, header_fields
from mta.content.dkim_pair import signer
from mta.content.dkim_signature import cover, digest_of, names_to_sign, signature_field, unsigned_value
from mta.content.header_block import header_end
from mta.model.dkim_keys import Algorithm
from mta.model.outcomes import Reply
from mta.model.settings import DkimSettings
from mta.ports.dkim import Signed, Unsigned
from mta.runtime.signing_process import SigningProcess
from mta.signing.key_ring import KeyRing
from mta.signing.mail_signer import MailSigner
from tests.support.dkim_keys import KeysInMemory, OpenSeal, entry_of, pair_of

_SESSIONS = 100  # messages under way at a time
_LINE = b"A line of a newsletter, of about the usual length, and some more.\r\n"
_HEADER = (
    b"From: News <news@example.com>\r\nTo: Some One <some.one@destination.example>\r\nSubject: The news of a week\r\n"
    b"Date: Mon, 30 Nov 2026 10:00:00 +0000\r\nMessage-ID: <20261130100000.1@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"List-Unsubscribe: <https://example.com/u/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n"
)


def message_of(size: int) -> bytes:
    return (_HEADER + _LINE * (size // len(_LINE)))[: size - 2] + b"\r\n"


async def measure(kinds: tuple[Algorithm, ...], size: int, seconds: float, beside: SigningProcess | None) -> str:
    """A row of the table."""
    ring = KeyRing(KeysInMemory(*(entry_of("example.com", kind, kind) for kind in kinds)), OpenSeal())
    await ring.look()
    mail_signer = MailSigner(DkimSettings(), ring, beside)
    message = message_of(size)
    end = header_end(message)
    mail = Unsigned(message[:end], memoryview(message)[end:], "", "")

    async def session(until: float) -> int:
        loop, count = asyncio.get_running_loop(), 0
        while time.perf_counter() < until:
            done: asyncio.Future[Signed | Reply] = loop.create_future()
            found = mail_signer.sign(mail, done.set_result) or await done
            assert isinstance(found, Signed)
            count += 1
            await asyncio.sleep(0)
        return count

    await session(time.perf_counter() + 0.3)  # the process is up, the keys are read
    child = next(iter(psutil.Process().children()), None) if beside is not None else None
    cpu, child_cpu, began = time.process_time(), _cpu_of(child), time.perf_counter()
    counts = await asyncio.gather(*(session(began + seconds) for _ in range(_SESSIONS)))
    messages, took = sum(counts), time.perf_counter() - began
    loop_us = (time.process_time() - cpu) / messages * 1e6
    child_us = (_cpu_of(child) - child_cpu) / messages * 1e6
    where = "beside" if beside is not None and Algorithm.RSA in kinds else "in the loop"
    name = "+".join(kinds)
    return f"| {name} | {size:,} | {where} | {loop_us:.0f} | {child_us:.0f} | {messages / took:,.0f} |"


def _cpu_of(process: psutil.Process | None) -> float:
    return sum(process.cpu_times()[:2]) if process is not None else 0.0


def steps(size: int) -> list[str]:
    """Microseconds of each step."""
    message = message_of(size)
    end = header_end(message)
    header, body = message[:end], message[end + 2 :]
    fields = header_fields(header) or {}
    names = names_to_sign(DkimSettings().oversign)
    covered = cover(fields, body, names)
    value = unsigned_value(covered, "example.com", "s1", "rsa-sha256", 0)
    digest = digest_of(covered, value)
    rsa, ed25519 = (signer(pair_of(kind).private) for kind in (Algorithm.RSA, Algorithm.ED25519))
    rows: list[tuple[str, Callable[[], object]]] = [
        ("split the header", lambda: header_fields(header)),
        ("canonical form and hash of the body", lambda: body_digest(body)),
        ("canonical form and hash of header and body", lambda: cover(fields, body, names)),
        ("DKIM-Signature without b=", lambda: unsigned_value(covered, "example.com", "s1", "rsa-sha256", 0)),
        ("its digest", lambda: digest_of(covered, value)),
        ("its text", lambda: signature_field(value, bytes(256))),
        ("RSA-2048", lambda: rsa(digest)),
        ("Ed25519", lambda: ed25519(digest)),
    ]
    return [f"| {name} | {size:,} | {_cost(work):.1f} |" for name, work in rows]


def _cost(work: Callable[[], object]) -> float:
    """Microseconds of CPU of one call: the least of five rounds."""
    rounds = []
    for _ in range(5):
        began, count = time.process_time(), 0
        while time.process_time() - began < 0.1:
            work()
            count += 1
        rounds.append((time.process_time() - began) / count)
    return min(rounds) * 1e6


async def main(seconds: float) -> None:
    print("| keys | bytes | RSA | loop, us | process, us | messages/s |\n|---|---|---|---|---|---|")
    for size in (4096, 102400):
        print(await measure((Algorithm.ED25519,), size, seconds, None))
        print(await measure((Algorithm.RSA,), size, seconds, None))
        for kinds in ((Algorithm.RSA,), (Algorithm.RSA, Algorithm.ED25519)):
            beside = SigningProcess()
            print(await measure(kinds, size, seconds, beside))
            beside.close()
    print("\n| step | bytes | us |\n|---|---|---|")
    print("\n".join([*steps(4096), *steps(102400)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each row (default 3)")
    asyncio.run(main(parser.parse_args().seconds))
