"""The protocols by which a service calls an adapter or another service, with their contracts."""
