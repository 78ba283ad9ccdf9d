"""The audit of orders: actor, time, origin, and the state before and after."""
