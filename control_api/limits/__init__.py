"""Limit orders and reactions over REST."""
