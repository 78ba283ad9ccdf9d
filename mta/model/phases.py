"""How far an outgoing session has come, in words for people."""

import enum


class Phase(enum.Enum):
    """What was being done when an outgoing session met trouble; the value is what log and API say."""

    DNS = "looking up the destination"
    CONNECT = "connecting"
    GREETING = "waiting for the greeting"
    EHLO = "sending EHLO"
    TLS = "starting TLS"
    RSET = "sending RSET"
    MAIL = "sending MAIL"
    RCPT = "sending RCPT"
    DATA = "sending DATA"
    BODY = "sending the message"
    DOT = "sending end of data"
    QUIT = "sending QUIT"


IN_DOUBT = "(the message may be delivered more than once)"  # beside a phase, where nobody knows whether it was taken
