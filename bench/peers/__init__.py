"""Floodgate beside other relays of the same work, on the same machine, in the same run."""
