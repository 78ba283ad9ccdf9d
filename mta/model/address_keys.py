"""Addresses as history looks them up: without case, a recipient by a small number that several may share."""

import zlib


def plain_address(address: str) -> str:
    return address.lower()


def recipient_key(address: str) -> int:
    """A reader that finds a row by it compares the address as well."""
    return zlib.crc32(address.lower().encode("utf-8", "surrogatepass"))
