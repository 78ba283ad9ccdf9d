"""Lists, exports and histories of deliveries, from the history database."""
