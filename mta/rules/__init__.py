"""The rule table in every process that matches: the guard confirms it, failover repairs it."""
