"""dkimpy as the judge of signatures."""

from collections.abc import Mapping
from typing import Any

import dkim

Records = Mapping[str, str]  # name in DNS -> TXT


def records_of(*keys: Mapping[str, Any]) -> dict[str, str]:
    """The records of keys as the API shows them."""
    return {key["record"]["name"]: key["record"]["value"] for key in keys}


def signatures(message: bytes) -> list[dict[str, str]]:
    """The tags of each DKIM-Signature field of the header, from the top."""
    header = message.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b"").replace(b"\r\n ", b"")
    found = []
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"dkim-signature":
            tags = (tag.partition("=") for tag in value.decode().split(";"))
            found.append({tag.strip(): text.strip() for tag, _, text in tags})
    return found


def verified(message: bytes, records: Records) -> list[str]:
    """The selectors whose signatures dkimpy finds valid, from the top."""

    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        text = records.get(name.decode().rstrip("."))
        return None if text is None else text.encode()

    found = []
    for place, tags in enumerate(signatures(message)):
        if dkim.DKIM(message).verify(place, dnsfunc=answer):
            found.append(tags["s"])
    return found
