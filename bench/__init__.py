"""The benchmark: a load source, a sink and the runs between them; it knows the product by its commands only."""
