"""DNS as delivery needs it: one adapter around aiodns."""
