"""Settings of messages that clients hand in."""

from typing import Annotated

from msgspec import Meta, Struct

from mta.model.setting_units import Bytes, Seconds


class MessagesSettings(Struct, frozen=True, kw_only=True):
    """Messages that clients hand in."""

    idempotency_window: Annotated[
        Seconds,
        Meta(
            ge=300,
            le=31 * 86400,
            description="How long an idempotency key is kept after its mail was accepted, or was scheduled for.",
        ),
    ] = 86400.0
    idempotency_memory: Annotated[
        Bytes,
        Meta(
            ge=1024**2,
            description="Most memory of the store for idempotency keys, about 100 bytes each; when it is full, mail "
            "with a new key is refused (452, 503).",
        ),
    ] = 256 * 1024**2
    max_batch: Annotated[
        int,
        Meta(
            ge=1,
            le=10000,
            description="Most recipients of one call over HTTP with a JSON body; a stream has no such limit.",
        ),
    ] = 1000
    simulate_domain: Annotated[
        str,
        Meta(
            description="Mail to this domain goes to the simulation and to no destination: bounce@, defer@ and stall@ "
            "play what they say, every other address takes the mail; alike on all nodes."
        ),
    ] = "simulate.invalid"
