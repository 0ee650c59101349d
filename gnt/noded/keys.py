"""Keys and certificates of this node, renewed while it runs: see `gnt.wire.certificate_calls`.

New keys lie beside those in use, 0600, until they are adopted. Connections stay up: whoever connects next is shown the
new certificate, since its file is read again when it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from twisted.logger import Logger

from gnt.daemon.files import remove_durably, write_atomically
from gnt.model.errors import ENVIRONMENT, WRONG_STATE, GntError, NodeFailure
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.hypervisors.pki import prepare_tls
from gnt.wire.certificate_calls import (
    AuthorityAdopt,
    AuthorityDistrust,
    AuthorityForget,
    AuthorityMake,
    AuthorityTrust,
    CertificateForget,
    CertificateInstall,
    CertificateRequest,
    CertificateSign,
    NewAuthority,
    RapiInstall,
    RapiRenew,
)
from gnt.wire.certificates import (
    Identity,
    bundle,
    check_server,
    check_signed,
    digest,
    facts,
    load_identity,
    make_authority,
    make_key,
    make_rapi,
    make_request,
    sign_node,
    signed_by,
    signing_authority,
    split_identity,
)

T = TypeVar("T")

log: Final = Logger()

POOL: Final = "keys"
SECRET: Final = 0o600
PUBLIC: Final = 0o644


class Keys:
    """Takes the calls that renew certificates."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._layout = place.layout
        self._runtime = place.runtime
        self._pool = place.runtime.pools(POOL)
        # Beside the files that they will replace; whoever leaves the cluster removes them with everything else.
        self._fresh_key = place.layout.node_pem.with_name("server.key.new")
        self._fresh_authority = place.layout.authority_key.with_name("ca.key.new")

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {
            CertificateRequest: self._request,
            CertificateForget: self._forget_request,
            CertificateSign: self._sign,
            CertificateInstall: self._install,
            AuthorityMake: self._make_authority,
            AuthorityForget: self._forget_authority,
            AuthorityTrust: self._trust,
            AuthorityDistrust: self._distrust,
            AuthorityAdopt: self._adopt,
            RapiRenew: self._renew_rapi,
            RapiInstall: self._install_rapi,
        }

    # The node's own certificate

    async def _request(self, _call: CertificateRequest, _context: CallContext) -> str:
        def work() -> str:
            key = make_key()
            write_atomically(self._fresh_key, key, SECRET)
            return make_request(key, self._place.name).decode()

        return await self._pool.run(_told, work)

    async def _forget_request(self, _call: CertificateForget, _context: CallContext) -> None:
        await self._pool.run(_told, lambda: remove_durably(self._fresh_key))

    async def _sign(self, call: CertificateSign, _context: CallContext) -> str:
        def work() -> str:
            signed = sign_node(
                self._authority(),
                call.request.encode(),
                name=call.name,
                uuid=call.uuid,
                addresses=call.addresses,
                now=self._runtime.now(),
                source=self._runtime.random,
            )
            return signed.decode()

        return await self._pool.run(_told, work)

    async def _install(self, call: CertificateInstall, _context: CallContext) -> str:
        return await self._pool.run(_told, lambda: self._use(call.certificate.encode()))

    def _use(self, certificate: bytes) -> str:
        """Put a certificate in use if its key is the one that waits for it; gives the digest of the one in use."""
        in_use = digest(load_identity(self._layout.node_pem).certificate)
        identity = self._waiting(certificate)
        if identity is None or in_use == digest(certificate):
            return in_use
        check_signed(certificate, self._layout.authority_certificate.read_bytes())
        if self._place.name not in facts(certificate).names:
            raise NodeFailure("wrong_input", f"the certificate is not made for {self._place.name}")
        write_atomically(self._layout.node_pem, identity.pem(), SECRET)
        remove_durably(self._fresh_key)
        self._tell_libvirt()
        return digest(certificate)

    def _waiting(self, certificate: bytes) -> Identity | None:
        """Give the certificate with the key that waits for it; None if that is gone or waits for another."""
        try:
            return split_identity(self._fresh_key.read_bytes() + certificate, "the new certificate")
        except (FileNotFoundError, GntError):
            return None

    # The authority

    async def _make_authority(self, call: AuthorityMake, _context: CallContext) -> NewAuthority:
        def work() -> NewAuthority:
            fresh = make_authority(call.cluster_name, now=self._runtime.now(), source=self._runtime.random)
            write_atomically(self._fresh_authority, fresh.pem(), SECRET)
            return NewAuthority(trusted=self._trusted().decode(), fresh=fresh.certificate.decode())

        return await self._pool.run(_told, work)

    async def _forget_authority(self, _call: AuthorityForget, _context: CallContext) -> None:
        await self._pool.run(_told, lambda: remove_durably(self._fresh_authority))

    async def _trust(self, call: AuthorityTrust, _context: CallContext) -> None:
        await self._pool.run(_told, lambda: self._trust_only([*bundle(self._trusted()), *_one(call.certificate)]))

    async def _distrust(self, call: AuthorityDistrust, _context: CallContext) -> None:
        await self._pool.run(_told, lambda: self._distrust_now(call))

    def _distrust_now(self, call: AuthorityDistrust) -> None:
        node = load_identity(self._layout.node_pem).certificate
        trusted = bundle(self._trusted())
        unwanted = [one for one in trusted if digest(one) in call.digests]
        needed = [one for one in unwanted if signed_by(node, one)]
        self._trust_only([one for one in trusted if one not in unwanted or one in needed])
        if needed:
            raise NodeFailure(
                WRONG_STATE,
                f"{self._place.name} still uses a certificate of the authority that is to go",
                hint="gnt-cluster renew-crypto --new-node-certificates",
            )

    def _trust_only(self, authorities: list[bytes]) -> None:
        """Trust these, each once, in this order."""
        content = b"".join(dict.fromkeys(authorities))
        if content != self._trusted():
            write_atomically(self._layout.authority_certificate, content, PUBLIC)
        self._tell_libvirt()

    async def _adopt(self, call: AuthorityAdopt, _context: CallContext) -> None:
        await self._pool.run(_told, lambda: self._adopt_now(call))

    def _adopt_now(self, call: AuthorityAdopt) -> None:
        try:
            fresh = load_identity(self._fresh_authority)
        except GntError:
            return
        if digest(fresh.certificate) != call.digest:
            return
        signing_authority(self._trusted(), fresh.key)
        write_atomically(self._layout.authority_key, fresh.key, SECRET)
        remove_durably(self._fresh_authority)

    # The remote API

    async def _renew_rapi(self, call: RapiRenew, _context: CallContext) -> str:
        return await self._pool.run(_told, lambda: self._renew_rapi_now(call))

    def _renew_rapi_now(self, call: RapiRenew) -> str:
        path = self._layout.rapi_pem
        if call.own_only and path.exists() and not self._is_ours(path):
            return digest(path.read_bytes())
        fresh = make_rapi(
            self._authority(),
            cluster_name=call.cluster_name,
            names=call.names,
            addresses=call.addresses,
            now=self._runtime.now(),
            source=self._runtime.random,
        )
        write_atomically(path, fresh.pem(), SECRET)
        return digest(fresh.certificate)

    async def _install_rapi(self, call: RapiInstall, _context: CallContext) -> None:
        def work() -> None:
            check_server(call.pem.encode(), "the certificate of the remote API")
            write_atomically(self._layout.rapi_pem, call.pem, SECRET)

        await self._pool.run(_told, work)

    def _is_ours(self, path: Path) -> bool:
        certificate = path.read_bytes()
        return any(signed_by(certificate, one) for one in bundle(self._trusted()))

    # What they have in common

    def _trusted(self) -> bytes:
        return self._layout.authority_certificate.read_bytes()

    def _authority(self) -> Identity:
        """Give the authority that signs. Raises `NodeFailure` on a node that does not have its key."""
        try:
            key = self._layout.authority_key.read_bytes()
        except FileNotFoundError:
            raise NodeFailure(
                ENVIRONMENT, f"{self._place.name} has no key of the authority: it is no master candidate"
            ) from None
        return signing_authority(self._trusted(), key, str(self._layout.authority_key))

    def _tell_libvirt(self) -> None:
        """Let libvirt have what is new; where its files cannot be written only live migration suffers."""
        try:
            prepare_tls(self._layout)
        except OSError as problem:
            log.warn("libvirt does not get this node's certificate: {problem}", problem=problem)


def _one(certificate: str) -> list[bytes]:
    """Give the one certificate that a text must hold."""
    found = bundle(certificate.encode())
    if len(found) != 1 or not facts(found[0]).authority:
        raise NodeFailure("wrong_input", "not the certificate of one authority")
    return found


def _told(work: Callable[[], T]) -> T:
    """Work with files; what the system says against it becomes a failure with a code."""
    try:
        return work()
    except OSError as problem:
        raise NodeFailure("storage_error", f"Cannot use {problem.filename}: {problem.strerror}") from problem
