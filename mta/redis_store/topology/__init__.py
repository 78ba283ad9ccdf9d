"""The servers of a store: one, a Cluster, or a master that sentinels name; `choose.py` takes one by the URL."""
