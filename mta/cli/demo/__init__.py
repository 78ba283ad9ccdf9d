"""`floodgate demo`: the main job, seen to happen: a campaign is canceled by tag while it is delivered."""

from mta.cli.demo.program import command

__all__ = ["command"]
