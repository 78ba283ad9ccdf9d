"""OpenDKIM's verifier in a network of its own, where a DNS server of ours is the only one:
`unshare --net --mount --map-root-user python -m tests.support.opendkim_room FOLDER`.

The folder holds `records.json` (name -> TXT) and messages (`*.eml`). Prints JSON: name of the message -> output of
`opendkim-testmsg`, "" where it found the message well signed.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.support.dns_stub import DnsStub
from tests.support.needs import tool


def furnish(folder: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    servers = folder / "resolv.conf"
    servers.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", str(servers), "/etc/resolv.conf"], check=True)


async def main(records: dict[str, str], messages: dict[str, bytes]) -> None:
    stub = DnsStub()
    for name, text in records.items():
        stub.txt(name, text)
    stub.port = 53
    async with stub:
        found = {name: await _judge(message) for name, message in messages.items()}
    print(json.dumps(found))


async def _judge(message: bytes) -> str:
    program = tool("opendkim-testmsg")
    assert program
    process = await asyncio.create_subprocess_exec(
        program, "-C", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate(message)
    return out.decode("utf-8", "replace").strip() or ("" if process.returncode == 0 else f"exit {process.returncode}")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    furnish(place)
    texts = json.loads((place / "records.json").read_text())
    asyncio.run(main(texts, {path.stem: path.read_bytes() for path in sorted(place.glob("*.eml"))}))
