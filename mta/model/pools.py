"""IP pools: the sending IPs of mail, by which name and in which shares they are used."""

from typing import Annotated

from msgspec import Meta, Struct


class PoolSettings(Struct, frozen=True, kw_only=True):
    """An IP pool that this node serves."""

    ips: Annotated[tuple[str, ...], Meta(description="Sending IPs; [] = the system chooses.")] = ()
    ehlo: Annotated[str, Meta(description='Our name towards destinations; "" = smtp.hostname.')] = ""
    weights: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        Meta(description='Share of an IP against the others: { "192.0.2.1" = 3 }; else 1.'),
    ] = {}
    warmup: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(
            description="Most messages of each IP to one site, for each day of its warm-up on which it sends: "
            "[50, 100, 500]; [] = none."
        ),
    ] = ()
    warm: Annotated[tuple[str, ...], Meta(description="IPs of the pool that are warm already.")] = ()


class SharedPool(PoolSettings, frozen=True, kw_only=True):
    """A pool of the cluster. Without IPs no node serves it: its mail waits."""

    description: str = ""  # for people
