"""Forced errors and pauses: ordering, editing, lifting and undoing them, and their accounts."""
