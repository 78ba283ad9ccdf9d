"""The content of a message: injection headers are read from it, the trace header is written; no I/O, no clock."""
