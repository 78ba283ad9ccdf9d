"""The process that signs beside the loop: its signatures, and the worker that goes on when it ends or stands still."""

import asyncio
import os
import signal

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from mta.model.dkim_keys import Algorithm
from mta.runtime import signing_process
from mta.runtime.signing_process import SigningProcess
from tests.support.dkim_keys import pair_of

PRIVATE = pair_of(Algorithm.RSA).private


def is_of_key(signature: bytes, digest: bytes) -> bool:
    key = serialization.load_der_private_key(PRIVATE, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    key.public_key().verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    return True


def ask(process: SigningProcess, digest: bytes, private: bytes = PRIVATE) -> asyncio.Future[bytes | None]:
    answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    process.sign(private, digest, answer.set_result)
    return answer


def pid_of(process: SigningProcess) -> int:
    assert process._transport is not None
    return int(process._transport.get_pid())


async def test_each_digest_gets_its_signature():
    process = SigningProcess()
    digests = [bytes([number]) * 32 for number in range(30)]
    answers = await asyncio.gather(*(ask(process, digest) for digest in digests))
    assert all(is_of_key(answer or b"", digest) for answer, digest in zip(answers, digests, strict=True))
    assert await ask(process, bytes(32), b"no key") is None
    assert is_of_key(await ask(process, bytes(32)) or b"", bytes(32))
    process.close()
    assert await ask(process, bytes(32)) is None


async def test_jobs_of_a_process_that_ends_are_given_back_and_another_one_is_started():
    now = 0.0
    process = SigningProcess(clock=lambda: now)
    assert await ask(process, bytes(32))
    pid = pid_of(process)
    os.kill(pid, signal.SIGSTOP)
    lost = ask(process, bytes(32))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    assert await lost is None
    assert await ask(process, bytes(32)) is None  # none is started at once
    now = 60.0
    assert is_of_key(await ask(process, bytes(32)) or b"", bytes(32))
    assert pid_of(process) != pid
    process.close()


async def test_a_process_that_stands_still_is_killed(monkeypatch):
    process = SigningProcess()
    assert await ask(process, bytes(32))
    assert process._watch is not None
    process._watch.cancel()  # it waits for the usual time
    process._watch = None
    monkeypatch.setattr(signing_process, "_PATIENCE", 0.2)
    os.kill(pid_of(process), signal.SIGSTOP)
    assert await ask(process, bytes(32)) is None
    process.close()
