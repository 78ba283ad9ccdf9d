"""Processes: what is wired to what, and who starts, watches and stops whom."""
