"""The acceptance of messages: prepare, decide by the rules in force, commit in groups."""
