"""Whether the records at the name of a DKIM key publish that key (RFC 6376 3.6.1)."""

from collections.abc import Sequence
from typing import NamedTuple

from mta.model.dkim_keys import DkimKey


class Verdict(NamedTuple):
    """Of the records at one name."""

    publishes: bool
    words: str  # for people


def verdict(records: Sequence[str], key: DkimKey) -> Verdict:
    """`records` are the TXT records at `key.name`."""
    if not records:
        return Verdict(False, f"there is no TXT record at {key.name}")
    if len(records) > 1:
        return Verdict(False, f"there are {len(records)} TXT records at {key.name}; verifiers may take any; leave one")
    tags = tags_of(records[0])
    if tags.get("v", "DKIM1") != "DKIM1":
        return Verdict(False, "the record has another version than v=DKIM1")
    if tags.get("k", "rsa") != key.algorithm.value:
        return Verdict(False, f"the record says k={tags.get('k', 'rsa')}, the key is k={key.algorithm.value}")
    public = "".join(tags.get("p", "").split())
    if not public:
        return Verdict(False, "the record revokes the key: p= is empty")
    if public != key.public:
        return Verdict(False, "the record has another key: p= differs")
    if "h" in tags and "sha256" not in [one.strip() for one in tags["h"].split(":")]:
        return Verdict(False, f"the record allows only h={tags['h']}, signatures use sha256")
    if "y" in [flag.strip() for flag in tags.get("t", "").split(":")]:
        return Verdict(True, "the record is there, with t=y: verifiers take the domain to be testing")
    return Verdict(True, "the record is there")


def tags_of(record: str) -> dict[str, str]:
    """The tags of a record of `name=value` pairs, the first where a name repeats (RFC 6376 3.2)."""
    found: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(name.strip(), value.strip())
    return found
