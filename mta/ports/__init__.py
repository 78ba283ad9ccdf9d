"""What a service may ask of the outside, and of another service; each contract is written here, not on its fulfilment."""
