"""History: every event in order and the newest record of each delivery, in a database."""
