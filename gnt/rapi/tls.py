"""TLS as the remote API offers it: the certificate of the cluster, to clients that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from gnt.model.errors import ENVIRONMENT, ConfigError, GntError

log: Final = Logger()
# For TLS 1.2; those of 1.3 are all good.
_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"


@implementer(IOpenSSLServerConnectionCreator)
class RapiTls:
    """Serves TLS 1.2 and 1.3 with key and certificate from files, which are read again when they change.

    `chain` holds further certificates, or is None.
    """

    def __init__(self, key: Path, certificate: Path, chain: Path | None = None) -> None:
        self._key = key
        self._certificate = certificate
        self._chain = chain
        self._stamp: tuple[tuple[int, ...], ...] = ()
        self._context: SSL.Context | None = None

    def check(self) -> None:
        """Read the files now; raises `ConfigError` naming the file that is missing or of no use."""
        stamp = self._stamps()
        self._context = self._read()
        self._stamp = stamp

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Make the connection object for a connection that came in."""
        try:
            if self._stamps() != self._stamp:
                self.check()
        except GntError as problem:
            if self._context is None:
                raise
            log.warn("keeping the certificate in use: {problem}", problem=problem.text)
        assert self._context is not None  # noqa: S101 - read, or raised above
        return SSL.Connection(self._context, None)

    def _files(self) -> tuple[Path, ...]:
        return (self._key, self._certificate, *([self._chain] if self._chain else []))

    def _stamps(self) -> tuple[tuple[int, ...], ...]:
        try:
            seen = [path.stat() for path in self._files()]
        except OSError as problem:
            raise ConfigError(
                f"{problem.filename}: {problem.strerror}",
                code=ENVIRONMENT,
                hint="gnt-cluster init makes the certificate of the remote API",
            ) from None
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in seen)

    def _read(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(_CIPHERS)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_session_id(b"gnt-rapi")
        try:
            context.use_certificate_chain_file(str(self._certificate))
        except SSL.Error:
            raise ConfigError(f"{self._certificate}: does not hold a certificate in PEM form") from None
        try:
            context.use_privatekey_file(str(self._key))
            context.check_privatekey()
        except SSL.Error:
            raise ConfigError(f"{self._key}: does not hold the key of {self._certificate}") from None
        if self._chain:
            try:
                for one in x509.load_pem_x509_certificates(self._chain.read_bytes()):
                    context.add_extra_chain_cert(one)
            except (OSError, ValueError, SSL.Error):
                raise ConfigError(f"{self._chain}: does not hold certificates in PEM form") from None
        return context
