"""The journal's spool as files in the data folder."""
