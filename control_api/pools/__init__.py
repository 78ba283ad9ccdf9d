"""IP pools over REST."""
