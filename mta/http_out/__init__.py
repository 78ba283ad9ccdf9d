"""HTTP to others, as a client."""
