"""The REST API: what people and programs ask of the cluster while mail is moving."""
