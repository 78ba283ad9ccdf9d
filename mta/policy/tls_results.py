"""The result of TLS on one connection, in the words of RFC 8460."""

import ssl
from typing import Final, NamedTuple

SUCCESS: Final = "success"
CLEAR: Final = "clear"  # the host offers no STARTTLS, and clear text was allowed
NOT_SUPPORTED: Final = "starttls-not-supported"
HOST_MISMATCH: Final = "certificate-host-mismatch"
EXPIRED: Final = "certificate-expired"
NOT_TRUSTED: Final = "certificate-not-trusted"
FAILED: Final = "validation-failure"

NO_POLICY: Final = "no-policy-found"
STS: Final = "sts"

_EXPIRED_CODES: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, CERT_HAS_EXPIRED
_MISMATCH_CODES: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH


class TlsResult(NamedTuple):
    """One kind of result, as it is counted by day."""

    domain: str
    policy: str  # "sts" or "no-policy-found"
    mx: str  # "" = no host was asked: the policy itself failed
    result: str


def result_of(error: Exception) -> str:
    """Of a TLS handshake that failed."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return FAILED
    if cause.verify_code in _MISMATCH_CODES:
        return HOST_MISMATCH
    return EXPIRED if cause.verify_code in _EXPIRED_CODES else NOT_TRUSTED
