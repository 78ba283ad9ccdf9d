"""The REST API: operators and programs ask the cluster and give it orders while mail is moving."""
