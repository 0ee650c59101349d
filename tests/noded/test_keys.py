"""Keys and certificates that are renewed while the node runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from msgspec import json

from gnt.model.errors import NodeFailure
from gnt.noded.keys import Keys
from gnt.wire.calls import call_types
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
    RapiInstall,
    RapiRenew,
)
from gnt.wire.certificates import (
    Identity,
    bundle,
    check_signed,
    digest,
    facts,
    load_identity,
    make_authority,
    make_key,
    make_rapi,
    make_request,
    sign_node,
    signing_authority,
)
from tests.noded.places import ask, place_below, refused

NOW = 1_700_000_000.0
NAME, UUID = "node1.example.com", "n1"


class Kit:
    """A master candidate with files as init makes them."""

    def __init__(self, root: Path) -> None:
        self.place = place_below(root)
        self.layout = self.place.layout
        self.layout.data.mkdir(parents=True)
        self.layout.etc.mkdir(parents=True)
        self.part = Keys(self.place)
        source = random.Random(1)  # noqa: S311
        self.authority = make_authority("c.example.com", now=NOW, source=source)
        key = make_key()
        signed = sign_node(
            self.authority,
            make_request(key, NAME),
            name=NAME,
            uuid=UUID,
            addresses=["192.0.2.1"],
            now=NOW,
            source=source,
        )
        self.layout.authority_certificate.write_bytes(self.authority.certificate)
        self.layout.authority_key.write_bytes(self.authority.key)
        self.layout.node_pem.write_bytes(Identity(signed, key).pem())
        rapi = make_rapi(self.authority, cluster_name="c.example.com", names=[], addresses=[], now=NOW, source=source)
        self.layout.rapi_pem.write_bytes(rapi.pem())

    def in_use(self) -> str:
        """Give the digest of the node's certificate."""
        return digest(load_identity(self.layout.node_pem).certificate)

    def signed(self, name: str = NAME) -> str:
        """Have a request made and signed."""
        request = ask(self.part, CertificateRequest())
        return str(ask(self.part, CertificateSign(request=request, name=name, uuid=UUID, addresses=["192.0.2.1"])))

    def replace_authority(self) -> str:
        """Have a second authority trusted and adopted; gives its certificate."""
        fresh = ask(self.part, AuthorityMake(cluster_name="c.example.com")).fresh
        ask(self.part, AuthorityTrust(certificate=fresh))
        ask(self.part, AuthorityAdopt(digest=digest(fresh.encode())))
        return str(fresh)

    def files(self) -> set[str]:
        """Name the files in the data directory."""
        return {path.name for path in self.layout.data.iterdir()}


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """Give a node."""
    return Kit(tmp_path)


def test_a_new_certificate_comes_with_a_new_key(kit: Kit) -> None:
    """The key is made here, 0600 from the start, and used only with its certificate; libvirt gets both."""
    old = load_identity(kit.layout.node_pem)
    certificate = kit.signed()
    assert (kit.layout.data / "server.key.new").stat().st_mode & 0o777 == 0o600
    assert kit.in_use() == digest(old.certificate)
    assert ask(kit.part, CertificateInstall(certificate=certificate)) == digest(certificate.encode())
    new = load_identity(kit.layout.node_pem)
    assert kit.in_use() == digest(certificate.encode())
    assert new.key != old.key
    assert kit.layout.node_pem.stat().st_mode & 0o777 == 0o600
    assert facts(new.certificate).names == (NAME, UUID)
    assert (kit.layout.etc / "pki/servercert.pem").read_bytes() == new.certificate
    assert "server.key.new" not in kit.files()


def test_what_was_overtaken_changes_nothing(kit: Kit) -> None:
    """A certificate that comes twice, or whose key was replaced by a newer request, or was forgotten."""
    first = kit.signed()
    second = kit.signed()
    before = kit.in_use()
    assert ask(kit.part, CertificateInstall(certificate=first)) == before
    ask(kit.part, CertificateInstall(certificate=second))
    assert ask(kit.part, CertificateInstall(certificate=second)) == digest(second.encode()) == kit.in_use()
    third = kit.signed()
    ask(kit.part, CertificateForget())
    ask(kit.part, CertificateForget())
    assert ask(kit.part, CertificateInstall(certificate=third)) == digest(second.encode())


def test_a_certificate_of_somebody_else_is_refused(kit: Kit) -> None:
    """Of another node, or of an authority that this node does not trust."""
    before = kit.in_use()
    other = kit.signed("node2.example.com")
    assert "not made for node1" in refused(kit.part, CertificateInstall(certificate=other)).text
    stranger = make_authority("x", now=NOW, source=random.Random(2))  # noqa: S311
    request = ask(kit.part, CertificateRequest())
    forged = sign_node(
        stranger,
        request.encode(),
        name=NAME,
        uuid=UUID,
        addresses=[],
        now=NOW,
        source=random.Random(3),  # noqa: S311
    )
    with pytest.raises(Exception, match="not signed by this cluster"):
        ask(kit.part, CertificateInstall(certificate=forged.decode()))
    assert kit.in_use() == before


def test_only_a_candidate_signs(kit: Kit) -> None:
    """A node without the authority's key says so."""
    request = ask(kit.part, CertificateRequest())
    kit.layout.authority_key.unlink()
    failure = refused(kit.part, CertificateSign(request=request, name=NAME, uuid=UUID, addresses=[]))
    assert "no master candidate" in failure.text


def test_an_authority_is_replaced(kit: Kit) -> None:
    """Both are trusted while certificates are signed anew; then the old one goes."""
    old = kit.authority.certificate
    fresh = kit.replace_authority()
    assert bundle(kit.layout.authority_certificate.read_bytes()) == [old, fresh.encode()]
    assert kit.layout.authority_key.stat().st_mode & 0o777 == 0o600
    signing_authority(fresh.encode(), kit.layout.authority_key.read_bytes())
    assert refused(kit.part, AuthorityDistrust(digests=[digest(old)])).code == "wrong_state"
    assert len(bundle(kit.layout.authority_certificate.read_bytes())) == 2
    certificate = kit.signed()
    check_signed(certificate.encode(), fresh.encode())
    ask(kit.part, CertificateInstall(certificate=certificate))
    ask(kit.part, AuthorityDistrust(digests=[digest(old)]))
    ask(kit.part, AuthorityDistrust(digests=[digest(old)]))
    assert kit.layout.authority_certificate.read_bytes() == fresh.encode()
    assert (kit.layout.etc / "pki/cacert.pem").read_text() == fresh
    assert "ca.key.new" not in kit.files()


def test_an_authority_that_is_given_up_leaves_nothing(kit: Kit) -> None:
    """Its key is forgotten; adopting it later, or another in its place, changes nothing."""
    key = kit.layout.authority_key.read_bytes()
    first = ask(kit.part, AuthorityMake(cluster_name="c")).fresh
    ask(kit.part, AuthorityMake(cluster_name="c"))
    ask(kit.part, AuthorityAdopt(digest=digest(first.encode())))
    ask(kit.part, AuthorityForget())
    ask(kit.part, AuthorityAdopt(digest=digest(first.encode())))
    assert kit.layout.authority_key.read_bytes() == key
    assert "ca.key.new" not in kit.files()


def test_an_authority_must_be_trusted_before_it_is_adopted(kit: Kit) -> None:
    """Else this node would sign what it does not trust."""
    fresh = ask(kit.part, AuthorityMake(cluster_name="c")).fresh
    with pytest.raises(Exception, match="do not belong together"):
        ask(kit.part, AuthorityAdopt(digest=digest(fresh.encode())))
    assert kit.layout.authority_key.read_bytes() == kit.authority.key


def test_only_one_authority_can_be_added(kit: Kit) -> None:
    """A node's certificate is none, and two at once are too many."""
    node = load_identity(kit.layout.node_pem).certificate.decode()
    both = (kit.authority.certificate * 2).decode()
    for wrong in (node, both):
        assert "one authority" in refused(kit.part, AuthorityTrust(certificate=wrong)).text


def test_the_remote_api_gets_a_new_certificate(kit: Kit) -> None:
    """For the names that are given; one that somebody else has signed stays if that is wanted."""
    call = RapiRenew(cluster_name="c.example.com", names=[NAME], addresses=["192.0.2.9"], own_only=True)
    made = ask(kit.part, call)
    found = facts(load_identity(kit.layout.rapi_pem).certificate)
    assert (found.digest, found.names, found.addresses) == (made, ("c.example.com", NAME), ("192.0.2.9",))
    stranger = make_authority("x", now=NOW, source=random.Random(2))  # noqa: S311
    bought = make_rapi(stranger, cluster_name="x", names=[], addresses=[], now=NOW, source=random.Random(3))  # noqa: S311
    kit.layout.rapi_pem.write_bytes(bought.pem())
    assert ask(kit.part, call) == digest(bought.certificate)
    assert kit.layout.rapi_pem.read_bytes() == bought.pem()
    assert ask(kit.part, RapiRenew(cluster_name="c", names=[], addresses=[])) != digest(bought.certificate)


def test_a_certificate_of_the_remote_api_that_was_given(kit: Kit) -> None:
    """It is served as it is, 0600; one without its key is refused, and no key shows in the call."""
    stranger = make_authority("x", now=NOW, source=random.Random(2))  # noqa: S311
    bought = make_rapi(stranger, cluster_name="x", names=[], addresses=[], now=NOW, source=random.Random(3))  # noqa: S311
    pem = (bought.pem() + stranger.certificate).decode()
    ask(kit.part, RapiInstall(pem=pem))
    assert kit.layout.rapi_pem.read_text() == pem
    assert kit.layout.rapi_pem.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(RapiInstall(pem=pem))
    with pytest.raises(Exception, match="do not belong together"):
        ask(kit.part, RapiInstall(pem=(bought.key + stranger.certificate).decode()))
    with pytest.raises(Exception, match="does not hold a key"):
        ask(kit.part, RapiInstall(pem=bought.certificate.decode()))
    assert kit.layout.rapi_pem.read_text() == pem


def test_no_key_is_in_an_answer(kit: Kit) -> None:
    """What comes back is public: it is recorded."""
    answers = [
        ask(kit.part, CertificateRequest()),
        kit.signed(),
        ask(kit.part, AuthorityMake(cluster_name="c")),
        ask(kit.part, RapiRenew(cluster_name="c", names=[], addresses=[])),
    ]
    assert b"PRIVATE" not in json.encode(answers)


def test_they_are_calls_of_the_contract() -> None:
    """Each is known by its name, changes the node, and keeps the order of the configuration."""
    mine = [kind for tag, kind in call_types().items() if tag.startswith(("certificate_", "authority_", "rapi_"))]
    assert len(mine) == 11
    assert all(kind.CHANGES for kind in mine)
    assert CertificateRequest().lane == "configure"


def test_a_disk_that_cannot_be_written(kit: Kit) -> None:
    """A definite failure with the path."""
    (kit.layout.data / "server.key.new").mkdir()
    failure = refused(kit.part, CertificateForget())
    assert isinstance(failure, NodeFailure)
    assert "server.key.new" in failure.text
