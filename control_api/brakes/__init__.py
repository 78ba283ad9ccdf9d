"""Brakes over REST."""
