"""Reply entries over REST."""
