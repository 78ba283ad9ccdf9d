"""The processes of the cluster: health, workers, metrics, and the fate of the store."""
