"""DKIM keys over REST."""
