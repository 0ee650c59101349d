"""Mutual TLS between master and nodes, as Twisted's endpoints take it.

Both ends show the certificate that the cluster's authority signed; nothing else gets through. Who asks for a node
also checks that the certificate is that node's: its name or its UUID stands in it. TLS 1.3 only, and no session is
resumed, so every connection proves itself anew. Files are read again when they change: a renewed certificate needs no
restart, and one that is being replaced and cannot be read leaves the old one in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.exceptions import CertificateError
from service_identity.hazmat import DNS_ID, verify_service_identity
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from gnt.model.errors import ENVIRONMENT, ConfigError, GntError
from gnt.wire.certificates import Identity, load_identity

log: Final = Logger()

_Stamp = tuple[tuple[int, int, int], ...]


class NodeCredentials:
    """This node's key and certificate, and the authority's certificate, as files that may change.

    `context` gives an OpenSSL context of what the files hold now.
    """

    def __init__(self, node_pem: Path, authority: Path) -> None:
        self._node_pem = node_pem
        self._authority = authority
        self._stamp: _Stamp = ()
        self._material: tuple[Identity, bytes] | None = None

    def check(self) -> None:
        """Read the files now; raises `ConfigError` naming the file that is missing or damaged."""
        self._read(self._stamps())

    def context(self) -> SSL.Context:
        """Give a new context; raises `ConfigError` if the files have never been readable."""
        try:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._read(stamp)
        except GntError as problem:
            if self._material is None:
                raise
            log.warn("keeping the certificate in use: {problem}", problem=problem.text)
        assert self._material is not None  # noqa: S101 - read, or raised above
        return make_context(*self._material)

    def _stamps(self) -> _Stamp:
        try:
            seen = [path.stat() for path in (self._node_pem, self._authority)]
        except OSError as problem:
            raise ConfigError(f"{problem.filename}: {problem.strerror}", code=ENVIRONMENT) from None
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in seen)

    def _read(self, stamp: _Stamp) -> None:
        identity = load_identity(self._node_pem)
        try:
            authority = self._authority.read_bytes()
            make_context(identity, authority)
        except OSError as problem:
            raise ConfigError(f"{self._authority}: {problem.strerror}", code=ENVIRONMENT) from None
        except (SSL.Error, crypto.Error, ValueError):
            raise ConfigError(f"{self._authority}: does not hold a certificate in PEM form") from None
        self._material = (identity, authority)
        self._stamp = stamp


def make_context(identity: Identity, authority: bytes) -> SSL.Context:
    """Make a context for one connection: TLS 1.3, our certificate, only the cluster's authority trusted.

    While the authority is being replaced `authority` holds two.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(x509.load_pem_x509_certificate(identity.certificate))
    key: Any = serialization.load_pem_private_key(identity.key, None)
    context.use_privatekey(key)
    store = context.get_cert_store()
    if store is None:
        raise ConfigError("OpenSSL gave no certificate store", code=ENVIRONMENT)
    for trusted in x509.load_pem_x509_certificates(authority):
        store.add_cert(crypto.X509.from_cryptography(trusted))
    return context


def _accept_chain(_connection: SSL.Connection, _certificate: crypto.X509, _errno: int, _depth: int, ok: int) -> bool:
    return bool(ok)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Takes connections only from who has a certificate of this cluster."""

    def __init__(self, credentials: NodeCredentials) -> None:
        self._credentials = credentials

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Make the connection object for a connection that came in."""
        context = self._credentials.context()
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_chain)
        return SSL.Connection(context, None)


@implementer(IOpenSSLClientConnectionCreator)
class ClientTls:
    """Connects to one node and to no other: its certificate must hold one of `identities` (name, UUID)."""

    def __init__(self, credentials: NodeCredentials, identities: tuple[str, ...]) -> None:
        self._credentials = credentials
        self._identities = identities

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Make the connection object for a connection that goes out."""
        context = self._credentials.context()
        context.set_verify(SSL.VERIFY_PEER, self._verify)
        connection = SSL.Connection(context, None)
        connection.set_tlsext_host_name(self._identities[0].encode("ascii", "ignore"))
        return connection

    def _verify(self, _connection: SSL.Connection, certificate: crypto.X509, _errno: int, depth: int, ok: int) -> bool:
        if not ok:
            return False
        return depth > 0 or self.is_wanted(certificate)

    def is_wanted(self, certificate: crypto.X509) -> bool:
        """Say whether a certificate is that of the node that we want."""
        try:
            patterns = extract_patterns(certificate.to_cryptography())
        except (CertificateError, ValueError):
            return False
        return any(_holds(patterns, identity) for identity in self._identities)


def _holds(patterns: Any, identity: str) -> bool:
    try:
        verify_service_identity(cert_patterns=patterns, obligatory_ids=[DNS_ID(identity)], optional_ids=[])
    except (VerificationError, ValueError):
        return False
    return True


def tls_server_factory(tls: ServerTls, factory: IProtocolFactory, clock: Any) -> TLSMemoryBIOFactory:
    """Wrap a factory so that its protocols speak inside TLS."""
    return _unbuffered(TLSMemoryBIOFactory(tls, False, factory, clock))


def _unbuffered(factory: TLSMemoryBIOFactory) -> TLSMemoryBIOFactory:
    """Have each write sent as it comes: ours are whole messages, and somebody waits for each (`gnt.wire.at_once`)."""
    factory.protocol = TLSMemoryBIOProtocol
    return factory


@implementer(IStreamClientEndpoint)
class TlsEndpoint:
    """Connects by another endpoint, and speaks TLS there."""

    def __init__(self, tls: ClientTls, plain: IStreamClientEndpoint) -> None:
        self._tls = tls
        self._plain = plain

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect; gives the protocol that speaks inside TLS."""
        connecting: Deferred[Any] = self._plain.connect(_unbuffered(TLSMemoryBIOFactory(self._tls, True, factory)))
        return connecting.addCallback(lambda outer: outer.wrappedProtocol)
