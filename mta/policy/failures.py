"""The verdict on deliveries by a remote reply, or by trouble on the way to one."""

from typing import NamedTuple

from mta.model.outcomes import Origin, Reply, Verdict
from mta.model.phases import IN_DOUBT, Phase
from mta.model.replies import Fault, Known, Reaction


class Trouble(NamedTuple):
    """The reason why an attempt could not begin or could not end."""

    verdict: Verdict
    reply: Reply
    origin: Origin
    phase: Phase
    host: str = ""
    ip: str = ""
    unintelligible: bool = False  # the server does not speak SMTP, see `ends_delivery`
    dialogue: tuple[str, ...] = ()  # the lines that were spoken until then
    route: str = ""  # the route that was tried, "" = none
    mta: str = ""  # the sending IP, where a server was reached
    tls_result: str = ""  # in the phase TLS: the kind of the failure (policy/tls_results.py), "" = not known
    lost: bool = False  # the peer closed the connection
    untried: bool = False  # no connection was tried: the host was known to be dead, or limits allowed none
    wait: float = 0.0  # seconds until limits may allow a connection; 0 = it was not they that allowed none

    @property
    def shared(self) -> "Trouble":
        """The same trouble for mail that the connection was not opened for. It does not count as an attempt at a
        server that does not speak SMTP; otherwise a server that is broken for a minute would end all mail that waits
        for it."""
        return self._replace(unintelligible=False)

    @property
    def reason(self) -> str:
        """The phase and the host. After the final dot, also that the server may have accepted the message."""
        words = f"{self.phase.value} {IN_DOUBT}" if self.phase is Phase.DOT else self.phase.value
        return f"{words} ({self.host or self.ip})" if self.host or self.ip else words


# Replies in these phases are about the message or a recipient; before them, about the host and all mail for it.
_OF_THE_MAIL = frozenset((Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT))
_MAY_ACCEPT = _OF_THE_MAIL - {Phase.BODY}

_ENHANCED = {
    Phase.DNS: "4.4.3",
    Phase.CONNECT: "4.4.1",
    Phase.TLS: "4.7.5",
    Phase.AUTH: "4.7.0",
}

MOST_UNINTELLIGIBLE = 3

# The knowledge about trouble that Floodgate itself puts into words, by its enhanced code without the class.
_BAD_DOMAIN = Known("bad_domain", Fault.RECIPIENT, Reaction.BOUNCE)
_LOCAL = {
    ".1.2": _BAD_DOMAIN,
    ".1.3": _BAD_DOMAIN,
    ".1.10": _BAD_DOMAIN,
    ".3.4": Known("size", Fault.SENDER, Reaction.BOUNCE),
    ".4.1": Known("no_answer", Fault.PEER),
    ".4.2": Known("bad_connection", Fault.PEER),
    ".4.3": Known("routing", Fault.PEER),
    ".4.4": Known("bad_domain", Fault.RECIPIENT),
    ".4.6": Known("routing", Fault.OURS),
    ".5.0": Known("protocol", Fault.PEER),
    ".6.3": Known("protocol", Fault.OURS, Reaction.BOUNCE),
    ".6.7": Known("protocol", Fault.OURS, Reaction.BOUNCE),
    ".7.5": Known("bad_connection", Fault.PEER),
}


def is_of_the_mail(phase: Phase) -> bool:
    """Whether a reply in this phase is about the message or a recipient, and not about all mail for the host."""
    return phase in _OF_THE_MAIL


def known_trouble(reply: Reply) -> Known | None:
    """The knowledge about trouble that Floodgate itself put into words."""
    return _LOCAL.get(reply.enhanced[1:])


def judge(phase: Phase, reply: Reply) -> Verdict:
    """The meaning of a final reply (RFC 5321 4.2.1, 4.3.2); any other reply is temporary trouble of the session."""
    code = reply.code
    if 200 <= code < 300 and phase in _MAY_ACCEPT:
        return Verdict.DELIVERED
    if code < 500 or phase not in _OF_THE_MAIL:  # a host that refuses everybody says nothing about the mail that waits
        return Verdict.TEMPORARY
    if phase is Phase.RCPT and code == 552:  # "too many recipients" of old servers, RFC 5321 4.5.3.1.10
        return Verdict.TEMPORARY
    return Verdict.PERMANENT


def refused(phase: Phase, reply: Reply, host: str, ip: str) -> Trouble:
    """The host said no before a transaction could begin."""
    return Trouble(judge(phase, reply), reply, Origin.REMOTE, phase, host, ip)


def refuses_connection(trouble: Trouble) -> bool:
    """Whether the host wanted no such connection: it answered 4xx before it was ready for mail, or closed it."""
    if trouble.phase not in (Phase.GREETING, Phase.EHLO) or trouble.unintelligible:
        return False
    return trouble.lost or (trouble.origin is Origin.REMOTE and trouble.reply.code < 500)


def broken(phase: Phase, words: str, host: str = "", ip: str = "", unintelligible: bool = False) -> Trouble:
    """The connection failed, timed out or broke the protocol: always temporary. After the final dot `words` also say
    that the message may have been delivered. `unintelligible`: the server does not speak SMTP, see `ends_delivery`."""
    if phase is Phase.DOT:
        words = f"{words} {IN_DOUBT}"
    enhanced = "4.5.0" if unintelligible else _ENHANCED.get(phase, "4.4.2")  # RFC 3463 3.6: protocol status
    reply = Reply(451, enhanced, words)
    return Trouble(Verdict.TEMPORARY, reply, Origin.LOCAL, phase, host, ip, unintelligible)


def ends_delivery(attempts: int) -> bool:
    """Whether a delivery ends after this number of attempts at a server that does not speak SMTP. Such a server will
    hardly change, so the sender gets the failure within minutes and not after `delivery.max_age`."""
    return attempts >= MOST_UNINTELLIGIBLE


def ending_reply(reply: Reply) -> Reply:
    """The reply that ends a delivery to a server that does not speak SMTP."""
    return Reply(554, "5.5.0", reply.text)


def unroutable(words: str, enhanced: str, temporary: bool) -> Trouble:
    """DNS and the routes give no usable host: 556 for a null MX (RFC 7505 4.1), 550 for other permanent trouble."""
    code = 451 if temporary else 556 if enhanced == "5.1.10" else 550
    verdict = Verdict.TEMPORARY if temporary else Verdict.PERMANENT
    return Trouble(verdict, Reply(code, enhanced, words), Origin.LOCAL, Phase.DNS)


def unsendable(code: int, enhanced: str, words: str, host: str = "", ip: str = "") -> Trouble:
    """This message cannot go to this peer as it is (RFC 6152, RFC 1870, RFC 6531): permanent."""
    return Trouble(Verdict.PERMANENT, Reply(code, enhanced, words), Origin.LOCAL, Phase.MAIL, host, ip)


def after_all_hosts(troubles: list[Trouble]) -> Trouble:
    """The trouble of a delivery after every host failed. It is permanent only if that of every host is, because one
    host does not judge the others (RFC 5321 5.1). Else it is the last temporary trouble, if possible of a host that
    speaks SMTP. If no host was tried it is `untried`, and that of a host that the limits may allow soonest."""
    untried = all(trouble.untried for trouble in troubles)
    limited = [trouble for trouble in troubles if trouble.wait]
    if untried and limited:
        return min(limited, key=lambda trouble: trouble.wait)
    temporary = [trouble for trouble in troubles if trouble.verdict is Verdict.TEMPORARY]
    intelligible = [trouble for trouble in temporary if not trouble.unintelligible]
    told = (intelligible or temporary or troubles)[-1]
    return told if told.untried is untried else told._replace(untried=untried, wait=0.0)
