"""Wiring: the only package that knows which adapter fulfils which port; each kind of process has a module in it."""
