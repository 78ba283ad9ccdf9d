"""Walks over waiting mail in the sweeper process: interception, holds, releases, expiry, undo copies."""
