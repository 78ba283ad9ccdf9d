"""Size mix: which sizes the messages of a load have, in what order, and what share of the messages has each."""

import argparse
import math
import random
from fractions import Fraction

_LONGEST_PERIOD = 1000
_ORDER = 10_000  # messages at least before the order of the sizes repeats


def size_mix(text: str) -> list[int]:
    """The sizes of consecutive messages from `BYTES:SHARE,...`, to be repeated; a command-line argument.

    Every period of the mix (20 messages for 0.7, 0.25 and 0.05) holds each size exactly as often as its share says,
    in an order of its own: in one fixed order, all large messages would go to the same few domains.
    """
    try:
        pairs = [part.split(":") for part in text.split(",")]
        shares = [(int(size), Fraction(share)) for size, share in pairs]
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not BYTES:SHARE,BYTES:SHARE,...") from None
    if any(size < 1 or share <= 0 for size, share in shares):
        raise argparse.ArgumentTypeError(f"{text!r}: sizes and shares are above 0")
    total = sum(share for _, share in shares)
    period = math.lcm(*((share / total).denominator for _, share in shares))
    if period > _LONGEST_PERIOD:
        raise argparse.ArgumentTypeError(f"{text!r} comes out even only after {period} messages; round the shares")
    return _in_order([size for size, share in shares for _ in range(int(share / total * period))])


def _in_order(period: list[int]) -> list[int]:
    if len(period) == 1:
        return period
    chance = random.Random(1)
    return [size for _ in range(math.ceil(_ORDER / len(period))) for size in chance.sample(period, len(period))]
