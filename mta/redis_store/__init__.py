"""Adapter: queues, rules, sessions, events and counters in Redis or Valkey, changed by atomic steps (Functions)."""
