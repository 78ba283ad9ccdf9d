"""The program of a signing process: it reads keys and digests from its standard input, and writes signatures.

A frame is its length (4 bytes) and msgpack. One to this process is a list of jobs: [number, key, digest], where the
private key (DER) stands before the number of the first job that uses it: [0, key, private]. One from it is a list of
[number, signature]; no signature (None): the key is damaged. The process ends when its standard input does.
"""

import os
import signal
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mta.content.dkim_pair import signer

LENGTH: Final = 4  # bytes
_PIECE: Final = 1 << 20
_TOGETHER: Final = 8  # signatures in one write: two milliseconds of work

_decode: Final = msgspec.msgpack.Decoder(list[tuple[int, int, bytes]]).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def framed(items: list[Any]) -> bytes:
    body = _encode(items)
    return len(body).to_bytes(LENGTH, "big") + body


class Frames:
    """Bytes as they come, cut into the bodies of frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete now."""
        buffer, found = self._buffer, []
        buffer += data
        while len(buffer) >= LENGTH:
            end = LENGTH + int.from_bytes(buffer[:LENGTH], "big")
            if len(buffer) < end:
                break
            found.append(bytes(buffer[LENGTH:end]))
            del buffer[:end]
        return found


class Keys:
    """The keys that were told, by number."""

    def __init__(self) -> None:
        self._sign: dict[int, Callable[[bytes], bytes] | None] = {}

    def run(self, jobs: list[tuple[int, int, bytes]]) -> list[tuple[int, bytes | None]]:
        """The signatures of some jobs."""
        done: list[tuple[int, bytes | None]] = []
        for number, key, text in jobs:
            if number == 0:
                try:
                    self._sign[key] = signer(text)
                except ValueError:
                    self._sign[key] = None
                continue
            sign = self._sign.get(key)
            done.append((number, None if sign is None else sign(text)))
        return done


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a signal to the whole process group is for the supervisor
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    frames, keys = Frames(), Keys()
    while piece := os.read(0, _PIECE):
        for body in frames.feed(piece):
            jobs = _decode(body)
            for at in range(0, len(jobs), _TOGETHER):
                if done := keys.run(jobs[at : at + _TOGETHER]):
                    _write(framed(done))


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
