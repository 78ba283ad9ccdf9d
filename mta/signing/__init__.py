"""DKIM: the keys of the cluster, and the mail that they sign."""
