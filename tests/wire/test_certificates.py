"""The cluster's certificates."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gnt.model.errors import ConfigError, Refused
from gnt.wire import certificates
from gnt.wire.certificates import Identity

NOW = 1_800_000_000.0
DAY = 86400.0
SOURCE = random.Random(4)  # noqa: S311


@pytest.fixture(scope="module")
def authority() -> Identity:
    """Make one authority for all."""
    return certificates.make_authority("cluster.example.com", now=NOW, source=SOURCE)


def sign(authority: Identity, key: bytes | None = None, name: str = "node1.example.com") -> bytes:
    """Have a node's request signed."""
    request = certificates.make_request(key or certificates.make_key(), "claims.to.be.master")
    return certificates.sign_node(
        authority, request, name=name, uuid="uuid-1", addresses=["192.0.2.1", "2001:db8::1"], now=NOW, source=SOURCE
    )


def test_authority_signs_nodes_and_nothing_that_signs(authority: Identity) -> None:
    """P-256, a CA with path length 0, named after the cluster."""
    loaded = x509.load_pem_x509_certificate(authority.certificate)
    constraints = loaded.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    key = loaded.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificates.facts(authority.certificate).common_name == "cluster.example.com"


def test_node_certificate_says_what_the_signer_says(authority: Identity) -> None:
    """Two years, backdated a day, names and addresses of the signer, for both ends of TLS."""
    facts = certificates.facts(sign(authority))
    assert facts.common_name == "node1.example.com"
    assert facts.names == ("node1.example.com", "uuid-1")
    assert facts.addresses == ("192.0.2.1", "2001:db8::1")
    assert (facts.begins, facts.ends) == (NOW - DAY, NOW + 730 * DAY)
    assert not facts.authority
    loaded = x509.load_pem_x509_certificate(sign(authority))
    usages = loaded.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_key_stays_with_the_node(authority: Identity) -> None:
    """The certificate is for the key that made the request, which nobody else has seen."""
    key = certificates.make_key()
    identity = Identity(sign(authority, key), key)
    assert certificates.split_identity(identity.pem(), "node") == identity


def test_serials_differ(authority: Identity) -> None:
    """Fresh randomness for each certificate."""
    serials = {x509.load_pem_x509_certificate(sign(authority)).serial_number for _ in range(5)}
    assert len(serials) == 5


def test_long_names_do_not_break_the_common_name(authority: Identity) -> None:
    """A name over 64 characters stands in the alternative names in full."""
    name = "n" * 60 + "." + "x" * 60 + ".example.com"
    facts = certificates.facts(sign(authority, name=name))
    assert facts.names[0] == name
    assert facts.common_name == name[:64]


def test_request_with_a_foreign_signature_is_refused(authority: Identity) -> None:
    """Whoever sends a request must have its key."""
    request = x509.load_pem_x509_csr(certificates.make_request(certificates.make_key(), "n"))
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    broken = b"-----BEGIN CERTIFICATE REQUEST-----\n" + _base64(bytes(der)) + b"-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(Refused, match="certificate request"):
        certificates.sign_node(authority, broken, name="n", uuid="u", addresses=[], now=NOW, source=SOURCE)


def _base64(data: bytes) -> bytes:
    import base64

    return base64.encodebytes(data)


@pytest.mark.parametrize("request_pem", [b"", b"garbage", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_garbage_is_no_request(authority: Identity, request_pem: bytes) -> None:
    """Refused in one line."""
    with pytest.raises(Refused, match="certificate request"):
        certificates.sign_node(authority, request_pem, name="n", uuid="u", addresses=[], now=NOW, source=SOURCE)


def test_request_for_another_kind_of_key_is_refused(authority: Identity) -> None:
    """P-256 only."""
    from cryptography.hazmat.primitives import hashes

    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(Refused, match="P-256"):
        certificates.sign_node(authority, pem, name="n", uuid="u", addresses=[], now=NOW, source=SOURCE)


def test_digest_of_both_forms(authority: Identity) -> None:
    """Lower-case hex of the DER's SHA-256, whichever form is given."""
    der = x509.load_pem_x509_certificate(authority.certificate).public_bytes(serialization.Encoding.DER)
    assert certificates.digest(der) == certificates.digest(authority.certificate)
    assert len(certificates.digest(der)) == 64


def test_another_authority_is_noticed(authority: Identity) -> None:
    """Even one of the same name."""
    other = certificates.make_authority("cluster.example.com", now=NOW, source=SOURCE)
    certificates.check_signed(sign(authority), authority.certificate)
    with pytest.raises(Refused, match="authority"):
        certificates.check_signed(sign(authority), other.certificate)


def test_two_authorities_are_trusted_while_one_is_replaced(authority: Identity) -> None:
    """Whichever of them signed; the one that the key fits signs, wherever it stands."""
    other = certificates.make_authority("cluster.example.com", now=NOW, source=SOURCE)
    for both in (authority.certificate + other.certificate, other.certificate + authority.certificate):
        certificates.check_signed(sign(authority), both)
        certificates.check_signed(sign(other), both)
        assert certificates.signing_authority(both, other.key) == other
        assert len(certificates.bundle(both)) == 2
    assert certificates.signed_by(sign(other), other.certificate)
    assert not certificates.signed_by(sign(other), authority.certificate)
    with pytest.raises(ConfigError, match="do not belong together"):
        certificates.signing_authority(authority.certificate, other.key)
    with pytest.raises(Refused, match="PEM"):
        certificates.bundle(b"nothing")


def test_what_a_server_shows_is_checked(authority: Identity) -> None:
    """A key of any kind with its certificate first, perhaps with those above it."""
    rapi = certificates.make_rapi(authority, cluster_name="c", names=[], addresses=[], now=NOW, source=SOURCE)
    certificates.check_server(rapi.pem() + authority.certificate, "file")
    for wrong in (b"", rapi.key, rapi.certificate, rapi.key + authority.certificate + rapi.certificate):
        with pytest.raises(ConfigError, match=r"^file: "):
            certificates.check_server(wrong, "file")


def test_files_with_keys_are_0600_and_replaced_whole(tmp_path: Path, authority: Identity) -> None:
    """Key and certificate in one file; nothing half-written stays beside it."""
    path = tmp_path / "server.pem"
    path.write_bytes(b"old")
    path.chmod(0o644)
    certificates.save_identity(path, authority)
    assert certificates.load_identity(path) == authority
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["server.pem"]


def test_keys_never_show_in_repr(authority: Identity) -> None:
    """Not even in a traceback."""
    assert b"PRIVATE" not in repr(authority).encode()


def test_file_without_what_it_should_hold_is_named(tmp_path: Path, authority: Identity) -> None:
    """Missing, garbage, and a key that is not the certificate's."""
    path = tmp_path / "server.pem"
    with pytest.raises(ConfigError, match=r"server\.pem"):
        certificates.load_identity(path)
    path.write_bytes(b"garbage")
    with pytest.raises(ConfigError, match=r"server\.pem: does not hold"):
        certificates.load_identity(path)
    path.write_bytes(certificates.make_key() + authority.certificate)
    with pytest.raises(ConfigError, match="do not belong together"):
        certificates.load_identity(path)
