"""An actor for tests that order something."""

from mta.model.actor import Actor, ActorKind

ME = Actor(ActorKind.TOKEN, "me", "192.0.2.7")
