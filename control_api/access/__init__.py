"""Who asks, and whether the request may pass."""
