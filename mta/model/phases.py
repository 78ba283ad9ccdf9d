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
    DOT = "sending end of data (the message may be delivered more than once)"
    QUIT = "sending QUIT"
