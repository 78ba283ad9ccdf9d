"""The processes of a node: their parts, and the supervisor that starts, watches and stops them."""
