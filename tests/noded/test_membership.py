"""Which cluster a node belongs to."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnt.daemon.files import write_atomically
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import ConfigError, NodeFailure
from gnt.model.layout import Layout
from gnt.noded.membership import MembershipFile
from gnt.wire import certificates
from gnt.wire.calls import Membership


def member(serial: int = 1, number: int = 1, **changes: Any) -> Membership:
    """Describe the membership of node1 as of a place in the log."""
    found = Membership(
        cluster_name="c",
        cluster_uuid="c-uuid",
        node_uuid="n1",
        node_name="node1.example.com",
        position=Position(epoch=Epoch(number=number, node="n1"), serial=serial),
        candidates={"n1": "aa", "n2": "bb"},
    )
    return msgspec.structs.replace(found, **changes)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give a node with a data directory."""
    found = Layout(tmp_path)
    found.data.mkdir(parents=True)
    return found


def test_what_is_stored_survives(layout: Layout) -> None:
    """A new daemon reads what the old one wrote; nobody else can."""
    first = MembershipFile(layout)
    assert first.load() is None
    assert first.store(member())
    second = MembershipFile(layout)
    assert second.load() == member() == second.current == first.current
    assert layout.membership.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("serial", "number", "stored"), [(4, 2, False), (9, 1, False), (5, 2, True), (1, 3, True)])
def test_an_older_position_is_ignored(layout: Layout, serial: int, number: int, stored: bool) -> None:
    """Positions compare by epoch, then serial; the same one again is written again."""
    kept = MembershipFile(layout)
    kept.store(member(serial=5, number=2))
    newer = member(serial=serial, number=number, candidates={"n3": "cc"})
    assert kept.store(newer) is stored
    assert kept.current == MembershipFile(layout).load() == (newer if stored else member(serial=5, number=2))


@pytest.mark.parametrize("change", [{"cluster_uuid": "other"}, {"node_uuid": "other"}])
def test_another_cluster_is_refused(layout: Layout, change: dict[str, str]) -> None:
    """A node belongs to one cluster, as one node, until it leaves."""
    kept = MembershipFile(layout)
    kept.store(member())
    with pytest.raises(NodeFailure) as caught:
        kept.store(member(serial=9, **change))
    assert caught.value.code == "other_cluster"
    assert kept.current == member()
    kept.forget()
    assert kept.store(member(serial=9, **change))


def test_who_may_order(layout: Layout) -> None:
    """The candidates' certificates, and nobody before the node has joined or after it has left."""
    kept = MembershipFile(layout)
    assert not kept.may_order("aa")
    kept.store(member())
    assert kept.may_order("bb")
    assert not kept.may_order("cc")
    kept.store(member(renewed={"n2": "cc"}))
    assert kept.may_order("bb")
    assert kept.may_order("cc")
    kept.forget()
    assert not kept.may_order("aa")
    assert kept.load() is None


def test_a_node_takes_orders_from_its_own_machine(layout: Layout) -> None:
    """Its own certificate may order changes too: word that this node is a candidate may come after it is the master."""
    source = random.Random(1)  # noqa: S311
    authority = certificates.make_authority("c", now=1e9, source=source)
    key = certificates.make_key()
    request = certificates.make_request(key, "node3.example.com")
    signed = certificates.sign_node(
        authority, request, name="node3.example.com", uuid="n3", addresses=["127.0.0.1"], now=1e9, source=source
    )
    digest = certificates.digest(signed)
    kept = MembershipFile(layout)
    kept.store(member(node_uuid="n3"))
    assert not kept.may_order(digest)
    layout.node_pem.write_bytes(certificates.Identity(signed, key).pem())
    assert kept.may_order(digest)
    assert not kept.may_order("cc")
    kept.forget()
    assert not kept.may_order(digest)


def test_the_own_certificate_is_read_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with each order of somebody who is no candidate; one that took its place counts at once."""
    read: list[Path] = []

    def load(path: Path) -> certificates.Identity:
        read.append(path)
        return certificates.Identity(path.read_bytes(), b"")

    monkeypatch.setattr(certificates, "load_identity", load)
    monkeypatch.setattr(certificates, "digest", lambda content: content.decode())
    kept = MembershipFile(layout)
    kept.store(member(candidates={}))
    write_atomically(layout.node_pem, b"one", 0o600)
    assert [kept.may_order(digest) for digest in ("one", "two", "one")] == [True, False, True]
    assert len(read) == 1
    write_atomically(layout.node_pem, b"two", 0o600)
    assert [kept.may_order(digest) for digest in ("one", "two", "one")] == [False, True, False]
    assert len(read) == 2
    layout.node_pem.unlink()
    assert not kept.may_order("two")


def test_a_damaged_file_is_named(layout: Layout) -> None:
    """The daemon does not start as if it belonged nowhere."""
    layout.membership.write_text('{"cluster_name":')
    with pytest.raises(ConfigError, match=r"membership\.json"):
        MembershipFile(layout).load()
