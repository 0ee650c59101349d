"""Node calls that renew certificates: a key never leaves the node that made it.

A node makes a key and asks; the master's own node, which has the authority's key, signs; the node takes the answer.
What stands in these calls and their answers is public, so they may be recorded like any other. Each may come again, and
late: one that was overtaken by a newer request does nothing.
"""

from __future__ import annotations

import msgspec

from gnt.wire.calls import FAST, NodeCall


class _OneAfterTheOther:
    """All of these in the order of their arrival."""

    __slots__ = ()

    @property
    def lane(self) -> str:
        """In order with the node's configuration, which writes the authority's files too."""
        return "configure"


class CertificateRequest(_OneAfterTheOther, NodeCall[str], tag="certificate_request", frozen=True, kw_only=True):
    """Make a key beside the one in use and give a signing request (PEM) for it; an older such key is replaced."""

    DEADLINE = FAST


class CertificateForget(_OneAfterTheOther, NodeCall[None], tag="certificate_forget", frozen=True, kw_only=True):
    """Forget the key of a request that comes to nothing."""

    DEADLINE = FAST


class CertificateSign(_OneAfterTheOther, NodeCall[str], tag="certificate_sign", frozen=True, kw_only=True):
    """Sign a node's request with the authority's key; gives the certificate (PEM). For a node that has that key."""

    DEADLINE = FAST

    request: str
    name: str
    uuid: str
    addresses: list[str]


class CertificateInstall(_OneAfterTheOther, NodeCall[str], tag="certificate_install", frozen=True, kw_only=True):
    """Use a certificate (PEM) with the key of the last request; gives the digest of the one then in use.

    If the key was replaced meanwhile, the certificate in use stays.
    """

    DEADLINE = FAST

    certificate: str


class NewAuthority(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates (PEM): of the authorities that the node trusts, one after the other, and of the one just made."""

    trusted: str
    fresh: str


class AuthorityMake(_OneAfterTheOther, NodeCall[NewAuthority], tag="authority_make", frozen=True, kw_only=True):
    """Make a new authority beside the one in use; its key stays on this node for now."""

    DEADLINE = FAST

    cluster_name: str


class AuthorityForget(_OneAfterTheOther, NodeCall[None], tag="authority_forget", frozen=True, kw_only=True):
    """Forget a new authority that was not adopted."""

    DEADLINE = FAST


class AuthorityTrust(_OneAfterTheOther, NodeCall[None], tag="authority_trust", frozen=True, kw_only=True):
    """Trust one more authority (its certificate, PEM)."""

    DEADLINE = FAST

    certificate: str


class AuthorityDistrust(_OneAfterTheOther, NodeCall[None], tag="authority_distrust", frozen=True, kw_only=True):
    """Trust these authorities (SHA-256 digests) no more; the one that signed this node's certificate is kept.

    Fails with `wrong_state` if one is kept.
    """

    DEADLINE = FAST

    digests: list[str]


class AuthorityAdopt(_OneAfterTheOther, NodeCall[None], tag="authority_adopt", frozen=True, kw_only=True):
    """Sign with the new authority that was made here from now on; if that was overtaken, nothing changes."""

    DEADLINE = FAST

    digest: str


class RapiRenew(_OneAfterTheOther, NodeCall[str], tag="rapi_renew", frozen=True, kw_only=True):
    """Make key and certificate of the remote API on this node, signed by the authority; gives the digest.

    With `own_only` one that somebody else has signed is kept.
    """

    DEADLINE = FAST

    cluster_name: str
    names: list[str]
    addresses: list[str]
    own_only: bool = False


class RapiInstall(_OneAfterTheOther, NodeCall[None], tag="rapi_install", frozen=True, kw_only=True):
    """Serve the remote API with this key and certificate (PEM); a secret, never logged or recorded."""

    DEADLINE = FAST

    pem: str

    def __repr__(self) -> str:
        return "RapiInstall(<redacted>)"
