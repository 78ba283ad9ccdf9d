"""Clocks that nobody can set while a process runs."""
