"""Brakes: rules that are made by themselves, once too much of the mail of a tag fails."""
