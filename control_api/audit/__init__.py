"""The audit: who ordered what."""
