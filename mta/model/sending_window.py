"""The times of the week at which a message may be sent, as its sender asked for them."""

import msgspec


class SendingWindow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Recurring times in a time zone; `mta/policy/schedule.py` has their grammar."""

    times: str
    timezone: str
