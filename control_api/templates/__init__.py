"""Templates of mail over REST."""
