"""Forced errors at work: the guard of each process, the orders of the API, the sweep, the statements."""
