"""Mail over HTTP: the process that takes it, and the way from the API to that process."""
