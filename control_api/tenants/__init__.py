"""The terms of tenants: state, weight, pool, senders, dkim_domain."""
