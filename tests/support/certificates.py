"""Certificates made at test time, and the server's side of TLS with them."""

import datetime
import ipaddress
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def self_signed(folder: pathlib.Path, name: str = "sink.example") -> ssl.SSLContext:
    """A context that presents a new certificate; nobody vouches for it."""
    key, names = ec.generate_private_key(ec.SECP256R1()), [name, "127.0.0.1"]
    return _server(_written(folder / f"{name}.pem", key, [_certificate(key, name, names, key, name)]))


class Authority:
    """A certificate authority; clients that are given `file` trust it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = _certificate(self._key, _NAME, [], self._key, _NAME)
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._own.public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """A context whose certificate has these host names and addresses. `days` < 0: it has expired."""
        return _server(self.pem(*names, days=days))

    def pem(self, *names: str, days: int = 1) -> pathlib.Path:
        """A file with a key and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = self._folder / f"{names[0]}{days}.pem"
        return _written(path, key, [_certificate(key, names[0], list(names), self._key, _NAME, days)])


_NAME = "Authority of the tests"
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    names: list[str],
    by: ec.EllipticCurvePrivateKey,
    issuer: str,
    days: int = 1,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    # RFC 5280 4.2.1 asks for these, and clients insist on them from CPython 3.13 on.
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
    made = made.add_extension(issuer_key, critical=False)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([_alternative(one) for one in names]), critical=False)
    else:
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(_SIGNS_CERTIFICATES, critical=True)
    return made.sign(by, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _written(path: pathlib.Path, key: ec.EllipticCurvePrivateKey, chain: list[x509.Certificate]) -> pathlib.Path:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
    return path


def _server(pem: pathlib.Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
