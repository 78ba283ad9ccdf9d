"""The key of the cluster, and the secrets that it seals."""
