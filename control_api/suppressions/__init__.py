"""Suppressions over REST."""
