"""What a service may ask of the outside, and of another service; the contracts are written here."""
