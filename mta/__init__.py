"""Floodgate: a mail transfer agent whose queued deliveries can be stopped, everywhere, by one call."""
