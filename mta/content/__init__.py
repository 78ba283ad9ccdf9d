"""What is read from a message and written into it: injection headers, the trace header; no I/O, no clock."""
