"""Floodgate beside other relays that do the same work, in turn on the same machine."""

from bench.peers.command import COMMAND

__all__ = ["COMMAND"]
