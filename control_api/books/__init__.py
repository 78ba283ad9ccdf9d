"""The accounts of mail: statements by tag, queues, and live events."""
