"""The delivery log as a file."""
