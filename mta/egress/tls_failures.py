"""A TLS handshake that failed, as a result in the words of RFC 8460."""

import ssl
from typing import Final

from mta.policy.tls_results import EXPIRED, FAILED, HOST_MISMATCH, NOT_TRUSTED

_EXPIRED_CODES: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, CERT_HAS_EXPIRED
_MISMATCH_CODES: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH


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
