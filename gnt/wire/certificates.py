"""The cluster's own certificates: authority, nodes, remote API.

Keys are P-256. A node makes its key itself and sends a request; the authority, whose key only master candidates have,
signs it. Names and addresses in a certificate are those that the signer says, never those that the request claims.
Times (seconds since the epoch) and the randomness of serial numbers are passed in; key files are 0600 from the first
byte. No Twisted here: commands that check a certificate need none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import ipaddress
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, ConfigError, Refused

DAY: Final = 86400.0
NODE_LIFE: Final = 2 * 365 * DAY
AUTHORITY_LIFE: Final = 20 * 365 * DAY
# Clocks of nodes differ: a certificate is good a day before it was made.
BACKDATED: Final = DAY
# X.520 allows a common name of 64 characters; longer names stand in the alternative names alone.
MAX_COMMON_NAME: Final = 64


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, both PEM. The key never shows in `repr`."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Identity({digest(self.certificate)}, <redacted>)"

    def pem(self) -> bytes:
        """Give both as one file has them: key, then certificate."""
        return self.key + self.certificate


@dataclass(frozen=True)
class CertificateFacts:
    """What a certificate says. Times in seconds since the epoch; `digest` is SHA-256 in lower-case hex."""

    common_name: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    begins: float
    ends: float
    digest: str
    authority: bool


def make_key() -> bytes:
    """Make a P-256 key (PEM, not encrypted)."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def make_authority(cluster_name: str, *, now: float, source: random.Random) -> Identity:
    """Make a cluster's authority; it may sign nodes, and nothing that signs further."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject(cluster_name)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), now=now, life=AUTHORITY_LIFE, source=source)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(_certificate_pem(certificate), _key_pem(key))


def make_request(key: bytes, name: str) -> bytes:
    """Ask for a certificate for the key: a signing request (PEM), which proves that its sender has the key."""
    loaded = _load_key(key, "key")
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject(name)).sign(loaded, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def sign_node(
    authority: Identity,
    request: bytes,
    *,
    name: str,
    uuid: str,
    addresses: Sequence[str],
    now: float,
    source: random.Random,
) -> bytes:
    """Sign a node's request; gives the certificate (PEM), good for two years as server and as client.

    Only the key is taken from the request. Raises `Refused` (`wrong_input`) if it is no P-256 request, or not signed
    by its own key.
    """
    names = [name, uuid]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    key = _requested_key(request)
    return _sign(authority, key, name, names=names, addresses=addresses, usages=usages, now=now, source=source)


def make_rapi(
    authority: Identity,
    *,
    cluster_name: str,
    names: Sequence[str],
    addresses: Sequence[str],
    now: float,
    source: random.Random,
) -> Identity:
    """Make key and certificate of the remote API; a server only, so that it opens no node daemon."""
    key = ec.generate_private_key(ec.SECP256R1())
    everything = [cluster_name, *(name for name in names if name != cluster_name)]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = _sign(
        authority,
        key.public_key(),
        cluster_name,
        names=everything,
        addresses=addresses,
        usages=usages,
        now=now,
        source=source,
    )
    return Identity(certificate, _key_pem(key))


def digest(certificate: bytes) -> str:
    """Give the SHA-256 of a certificate's DER as lower-case hex; takes PEM or DER."""
    return hashlib.sha256(_load_certificate(certificate).public_bytes(serialization.Encoding.DER)).hexdigest()


def facts(certificate: bytes) -> CertificateFacts:
    """Say what a certificate (PEM or DER) says."""
    loaded = _load_certificate(certificate)
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    with contextlib.suppress(x509.ExtensionNotFound):
        others = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(others.get_values_for_type(x509.DNSName))
        addresses = tuple(str(address) for address in others.get_values_for_type(x509.IPAddress))
    authority = False
    with contextlib.suppress(x509.ExtensionNotFound):
        authority = loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    common = loaded.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return CertificateFacts(
        common_name=str(common[0].value) if common else "",
        names=names,
        addresses=addresses,
        begins=loaded.not_valid_before_utc.timestamp(),
        ends=loaded.not_valid_after_utc.timestamp(),
        digest=hashlib.sha256(loaded.public_bytes(serialization.Encoding.DER)).hexdigest(),
        authority=authority,
    )


def check_signed(certificate: bytes, authorities: bytes) -> None:
    """Check that an authority that is trusted signed a certificate; raises `Refused` if another did.

    `authorities` may be several certificates: two are trusted while the authority is being replaced.
    """
    if not any(signed_by(certificate, one) for one in bundle(authorities)):
        raise Refused(WRONG_INPUT, "the certificate was not signed by this cluster's authority")


def signed_by(certificate: bytes, authority: bytes) -> bool:
    """Say whether this authority (its certificate) signed a certificate."""
    try:
        _load_certificate(certificate).verify_directly_issued_by(_load_certificate(authority))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def bundle(content: bytes) -> list[bytes]:
    """Give the certificates (PEM) that a text holds, in order; raises `Refused` if there is none."""
    try:
        return [_certificate_pem(one) for one in x509.load_pem_x509_certificates(content)]
    except ValueError:
        raise Refused(WRONG_INPUT, "not a certificate in PEM form") from None


def signing_authority(authorities: bytes, key: bytes, name: str = "the authority") -> Identity:
    """Give the authority that signs: of those that are trusted the one that the key belongs to.

    Raises `ConfigError` if it belongs to none; `name` is what the error calls it.
    """
    try:
        loaded = _load_key(key, name)
        found = [one for one in bundle(authorities) if _load_certificate(one).public_key() == loaded.public_key()]
    except Refused:
        raise ConfigError(f"{name}: does not hold a key and a certificate in PEM form") from None
    if not found:
        raise ConfigError(f"{name}: key and certificate do not belong together")
    return Identity(found[0], _key_pem(loaded))


def save_secret(path: Path, content: bytes) -> None:
    """Write a file that holds a key: 0600 from the first byte, complete or not at all, on disk when this returns."""
    _save(path, content, 0o600)


def save_public(path: Path, content: bytes) -> None:
    """Write a file that anybody may read, complete or not at all, on disk when this returns."""
    _save(path, content, 0o644)


def save_identity(path: Path, identity: Identity) -> None:
    """Write key and certificate into one file, 0600."""
    save_secret(path, identity.pem())


def load_identity(path: Path) -> Identity:
    """Read key and certificate from one file; raises `ConfigError` naming the file."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror}", code=ENVIRONMENT) from None
    return split_identity(content, str(path))


def split_identity(content: bytes, name: str) -> Identity:
    """Take key and certificate out of one PEM text; `name` is what an error calls it."""
    try:
        certificate = _certificate_pem(x509.load_pem_x509_certificate(content))
        key = _load_key(content, name)
    except (ValueError, Refused):
        raise ConfigError(f"{name}: does not hold a key and a certificate in PEM form") from None
    if key.public_key() != _load_certificate(certificate).public_key():
        raise ConfigError(f"{name}: key and certificate do not belong together")
    return Identity(certificate, _key_pem(key))


def check_server(content: bytes, name: str) -> None:
    """Check what a server is to show to anybody: a key of whatever kind, its certificate, perhaps those above it.

    Raises `ConfigError`; `name` is what the error calls it.
    """
    try:
        certificate = x509.load_pem_x509_certificates(content)[0]
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{name}: does not hold a key without password and a certificate in PEM form") from None
    shapes = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*shapes) != certificate.public_key().public_bytes(*shapes):
        raise ConfigError(f"{name}: key and certificate do not belong together (the certificate comes first)")


def _save(path: Path, content: bytes, mode: int) -> None:
    """Write a new file beside the old one and put it in its place."""
    beside = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:MAX_COMMON_NAME])])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    now: float,
    life: float,
    source: random.Random,
) -> x509.CertificateBuilder:
    """Begin a certificate with what all of ours have."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(source.getrandbits(158) | 1)
        .not_valid_before(_moment(now - BACKDATED))
        .not_valid_after(_moment(now + life))
    )


def _sign(
    authority: Identity,
    key: ec.EllipticCurvePublicKey,
    common_name: str,
    *,
    names: Sequence[str],
    addresses: Sequence[str],
    usages: list[x509.ObjectIdentifier],
    now: float,
    source: random.Random,
) -> bytes:
    """Sign a leaf certificate."""
    issuer = _load_certificate(authority.certificate)
    issuer_key = _load_key(authority.key, "authority")
    others: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    others += [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]
    certificate = (
        _builder(_subject(common_name), issuer.subject, key, now=now, life=NODE_LIFE, source=source)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_identifier(issuer), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _certificate_pem(certificate)


def _authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    subject = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject.value)


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """Give the key of a signing request whose sender has proved to own it."""
    try:
        loaded = x509.load_pem_x509_csr(request)
        key = loaded.public_key()
        proved = loaded.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise Refused(WRONG_INPUT, "the certificate request is not a signing request in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Refused(WRONG_INPUT, "the certificate request is not for a P-256 key")
    if not proved:
        raise Refused(WRONG_INPUT, "the certificate request is not signed by its own key")
    return key


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _load_certificate(content: bytes) -> x509.Certificate:
    """Load PEM or DER."""
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificate(content)
        return x509.load_der_x509_certificate(content)
    except ValueError:
        raise Refused(WRONG_INPUT, "not a certificate in PEM or DER form") from None


def _load_key(content: bytes, name: str) -> ec.EllipticCurvePrivateKey:
    """Load a P-256 key."""
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused(WRONG_INPUT, f"{name}: not a key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refused(WRONG_INPUT, f"{name}: not an elliptic-curve key")
    return key
