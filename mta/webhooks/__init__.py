"""Webhooks: endpoints of senders are told of events, in order for each message, and none is lost."""
