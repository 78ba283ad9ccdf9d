"""How a message becomes accepted, whoever brings it: prepare, decide by the rules in force, commit in groups."""
