"""Tokens, the gate that asks for them, and the actor of a request."""
