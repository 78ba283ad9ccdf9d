"""Adapter: what this host's network has."""
