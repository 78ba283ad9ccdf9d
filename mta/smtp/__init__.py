"""SMTP as bytes and machines: grammar, replies, sessions; no I/O, no clock."""
