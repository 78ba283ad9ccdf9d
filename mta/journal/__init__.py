"""From the outbox to the delivery log: each event exactly where people look for it, in order, and durable."""
