"""Queues and parked mail over REST: lists, and work on what waits."""
