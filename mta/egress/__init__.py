"""Mail out: connections, transactions on them, and the outlet of each queue."""
