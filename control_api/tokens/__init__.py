"""API tokens: made, listed and revoked by the administrator."""
