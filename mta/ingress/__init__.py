"""Mail in over SMTP: the listener, its sessions, and how a node's workers share the connections."""
