"""Suppressions in a process: which recipients may be suppressed, and the looks at mail that comes or has waited."""
