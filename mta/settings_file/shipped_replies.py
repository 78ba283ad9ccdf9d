"""The reply entries that Floodgate ships, `replies.toml` beside this module."""

import tomllib
from importlib.resources import files

import msgspec

from mta.model.replies import ReplyEntry


def shipped_replies() -> dict[str, ReplyEntry]:
    """The entries by name, in their order."""
    text = files(__package__).joinpath("replies.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["replies"], dict[str, ReplyEntry])
