"""Regular expressions of the description (JSON Schema, `pattern`): as narrow as the code that reads the values.

A generator of requests makes values from them, so each value that a pattern allows is one that the API takes.
"""

from typing import Final

_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"({_OCTET}\.){{3}}{_OCTET}"
_H16: Final = "[0-9A-Fa-f]{1,4}"
_IPV6: Final = "|".join(  # RFC 3986 3.2.2, without an IPv4 address at its end
    [
        f"({_H16}:){{7}}{_H16}",
        *(f"({_H16}:){{1,{7 - right}}}(:{_H16}){{1,{right}}}" for right in range(1, 7)),
        f":(:{_H16}){{1,7}}",
        f"({_H16}:){{1,7}}:",
        "::",
    ]
)
_LABEL: Final = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# Printable characters that a pattern can name easily; the API takes other printable characters, too.
_LETTERS: Final = "\u00a1-\u00ac\u00ae-\u017f\u0400-\u042f\u0430-\u045f\u3041-\u3096\u4e00-\u9fff"
_UNTAGGABLE: Final = "\\x00-\\x1f\\x7f-\\x9f"

ANYTHING: Final = r"\*"  # as a whole value it means that the field is absent
NAME: Final = "[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
POOL: Final = rf"{NAME}|@({_IPV4}|{_IPV6})"
ADDRESS: Final = rf"{_IPV4}|{_IPV6}"
DOMAIN: Final = rf"({_LABEL}\.){{0,3}}{_LABEL}"
DOMAIN_OR_BELOW: Final = rf"(\*\.)?{DOMAIN}"
_LOCAL_PART: Final = "[A-Za-z0-9_]([A-Za-z0-9_+.-]{0,30}[A-Za-z0-9_])?"
_MAIL_DOMAIN: Final = rf"({_LABEL}\.){{1,2}}[A-Za-z]{{2,20}}"
RECIPIENT: Final = rf"{_LOCAL_PART}@{_MAIL_DOMAIN}"
MAILBOX: Final = rf"{RECIPIENT}|[A-Za-z][ A-Za-z0-9.'-]{{0,20}} <{RECIPIENT}>"
SIGNING_DOMAIN: Final = _MAIL_DOMAIN
SENDER: Final = rf"({_LOCAL_PART}|\*)@{_MAIL_DOMAIN}"
LABEL: Final = rf"[!-)+-~][ -~]{{0,127}}|\*[ -~]{{1,127}}|[^*{_UNTAGGABLE}][^{_UNTAGGABLE}]{{0,31}}"
TITLE: Final = rf"[!-~{_LETTERS}][ -~{_LETTERS}]{{0,20}}"
LINE: Final = rf"[ -~]*|[ -~{_LETTERS}]{{0,133}}"
FLAG: Final = "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[01]"
_PART: Final = r"(\.[0-9]{1,9})?"
WAIT: Final = (
    rf"(([0-9]{{1,5}}|[1-5][0-9]{{5}}){_PART}|600000)ms|(([0-9]{{1,2}}|[1-5][0-9]{{2}}){_PART}|600)s?|"
    rf"([0-9]{_PART}|10)m|0h|0d"
)
DURATION: Final = rf"[1-9][0-9]{{0,7}}{_PART} ?(ms|s)?|[1-9][0-9]{{0,5}}{_PART} ?m|[1-9][0-9]{{0,3}}{_PART} ?[hd]"
MOMENT: Final = (
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?|\+[1-9][0-9]{0,5}(s|m)"
)
MOMENT_OR_NOW: Final = rf"{MOMENT}|now"
INSTANT: Final = (
    r"(19[7-9][0-9]|20[0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
HOURS: Final = "([1-9]|[1-9][0-9]|[1-6][0-9]{2})h|([1-9]|[12][0-9])d"
ENHANCED_TAIL: Final = r"\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})"
RULE_CURSOR: Final = "[0-9]{15}~[0-9a-f]{1,64}"
QUEUE_CURSOR: Final = r"[!-}]{1,80}~[!-}]{1,260}"
DELIVERY_TAIL: Final = r"(\.[1-9][0-9]{0,3})?"
MESSAGE_ID: Final = "[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"
WAITING_CURSOR: Final = rf"{QUEUE_CURSOR}~[0-9]{{1,15}}~[0-9a-f]{{36}}"
WORK_CURSOR: Final = "[0-9]{1,3}~[01]~[0-9]{1,19}~[!-~]{1,400}"
PARKED_CURSOR: Final = "[0-9]{1,15}~[0-9a-f]{36}"
DELIVERY_ID: Final = rf"{MESSAGE_ID}\.[1-9][0-9]{{0,3}}"
