"""New certificates on a running cluster: the operation on three nodes with real keys in real files."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred, ensureDeferred

from gnt.masterd.engine import Engine
from gnt.masterd.operation import operation_for
from gnt.masterd.plan import ByMaster, Entrust, Reconnect, Tell
from gnt.masterd.planning import Planner
from gnt.masterd.tools import Tools
from gnt.model.cluster import CONFIG_VERSION
from gnt.model.errors import Failed, GntError, NodeFailure, NotReached
from gnt.model.layout import Layout
from gnt.model.objects import ClusterSettings
from gnt.noded.keys import Keys
from gnt.opcodes.cluster import ClusterRenewCrypto
from gnt.store.changes import Space
from gnt.wire.calls import NodeCall, NodeVersion, VerifyFacts
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
from tests.masterd.fakes import NODE1, NODE2, NODE3, Nodes, Resolver, Run
from tests.masterd.operations.ground import Ground, _no_sleep
from tests.noded.places import ask, place_below

RENEW = "OP_CLUSTER_RENEW_CRYPTO"
NOW = 1_700_000_000.0
ALL = (NODE1, NODE2, NODE3)


class Keyring(Ground):
    """Three candidates with files of keys; what is told to them is noted, with the digests that count then."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        source = random.Random(1)  # noqa: S311
        self.layouts = {uuid: Layout(root / f"node{n}") for n, uuid in enumerate(ALL, 1)}
        self.parts: dict[str, Keys] = {}
        authority = make_authority("cluster.example.com", now=NOW, source=source)
        for uuid, layout in self.layouts.items():
            node = self.journal.head.nodes[uuid]
            layout.data.mkdir(parents=True)
            layout.etc.mkdir(parents=True)
            key = make_key()
            signed = sign_node(
                authority,
                make_request(key, node.name),
                name=node.name,
                uuid=uuid,
                addresses=[node.primary_ip],
                now=NOW,
                source=source,
            )
            layout.authority_certificate.write_bytes(authority.certificate)
            layout.authority_key.write_bytes(authority.key)
            layout.node_pem.write_bytes(Identity(signed, key).pem())
            place = place_below(layout.root)
            self.parts[uuid] = Keys(dataclasses.replace(place, name=node.name))
        self.rapi = make_rapi(authority, cluster_name="c", names=[], addresses=[], now=NOW, source=source)
        self.layouts[NODE1].rapi_pem.write_bytes(self.rapi.pem())
        settings = replace(self.journal.head.settings, candidate_certs={uuid: self.in_use(uuid) for uuid in ALL})
        self.journal.head = self.journal.head.put(settings)
        self.nodes.answers["node_verify"] = self._verify
        for kind in self.parts[NODE1].handlers():
            self.nodes.answers[kind.tag()] = self._keys
        self.performed: list[ByMaster] = []
        self.failing: Callable[[ByMaster], None] = lambda _step: None
        self.deadly = -1
        self.told: list[set[str]] = [self.counting()]
        self.engine = self.engine_on(self.nodes)

    def engine_on(self, nodes: Nodes) -> Engine:
        """Make an engine: a master that has just started."""
        return Engine(Tools(self.journal, self.journal, nodes, nodes, Resolver(), _no_sleep, master=self))

    def begin(self, nodes: Nodes, op: ClusterRenewCrypto) -> None:
        """Begin a run that may never end."""
        ensureDeferred(self.engine_on(nodes).run(Run(op), operation_for(op, self.fresh)))

    def in_use(self, uuid: str) -> str:
        """Give the digest of a node's certificate."""
        return digest(load_identity(self.layouts[uuid].node_pem).certificate)

    def counting(self) -> set[str]:
        """Give the digests that count by the model."""
        settings: ClusterSettings = self.journal.head.settings
        return {*settings.candidate_certs.values(), *settings.renewed_certs.values()}

    def trusted(self, uuid: str) -> list[bytes]:
        """Give the authorities that a node trusts."""
        return bundle(self.layouts[uuid].authority_certificate.read_bytes())

    async def perform(self, step: ByMaster) -> None:
        """Do as the master would."""
        self.failing(step)
        if len(self.performed) == self.deadly:
            await Deferred()
        self.performed.append(step)
        if isinstance(step, Tell):
            self.told.append(self.counting())
        if isinstance(step, Entrust) and not step.rapi:
            for name in ("authority_certificate", "authority_key"):
                source, target = (getattr(self.layouts[uuid], name) for uuid in (NODE1, step.node))
                target.write_bytes(source.read_bytes())

    def _keys(self, uuid: str, call: NodeCall[Any]) -> Any:
        try:
            return ask(self.parts[uuid], call)
        except GntError as error:
            return error

    def _verify(self, uuid: str, _call: object) -> VerifyFacts:
        version = NodeVersion(protocol=CONFIG_VERSION, release="0", name=self.journal.head.nodes[uuid].name, uuid=uuid)
        return VerifyFacts(version=version, time=1000.0, certificate=self.in_use(uuid), certificate_ends=1e12)

    def whole(self) -> None:
        """See that every node's certificate counts, and that all trust each other and can sign."""
        online = [uuid for uuid in ALL if not self.journal.head.nodes[uuid].offline]
        for uuid in online:
            assert self.in_use(uuid) in self.counting(), uuid
            assert self.in_use(uuid) in self.told[-1], uuid
            certificate = load_identity(self.layouts[uuid].node_pem).certificate
            for other in online:
                check_signed(certificate, self.layouts[other].authority_certificate.read_bytes())
            signing_authority(b"".join(self.trusted(uuid)), self.layouts[uuid].authority_key.read_bytes())


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    """Give the cluster."""
    return Keyring(tmp_path)


def test_every_node_gets_a_new_certificate(ring: Keyring) -> None:
    """All know it before the first uses it; the master is the last; then the old ones count no more."""
    old = {uuid: ring.in_use(uuid) for uuid in ALL}
    assert ring.run(RENEW, node_certificates=True).error is None, ring.said
    new = {uuid: ring.in_use(uuid) for uuid in ALL}
    assert not set(old.values()) & set(new.values())
    settings = ring.journal.head.settings
    assert (settings.candidate_certs, settings.renewed_certs) == (new, {})
    installs = [node for node, call in ring.nodes.made if call.tag() == "certificate_install"]
    assert installs == [NODE2, NODE3, NODE1]
    assert ring.told[1:] == [{*old.values(), *new.values()}, set(new.values())]
    assert [type(step) for step in ring.performed] == [Reconnect, Tell, Reconnect, Tell]
    found = facts(load_identity(ring.layouts[NODE2].node_pem).certificate)
    assert (found.names, found.addresses) == (("node2.example.com", NODE2), ("192.0.2.2",))
    ring.whole()


def test_the_first_to_switch_is_known_to_all(ring: Keyring) -> None:
    """At every installation both digests of that node count."""
    seen: list[bool] = []

    def look(uuid: str, call: NodeCall[Any]) -> None:
        if call.tag() == "certificate_install":
            new = digest(call.certificate.encode())  # type: ignore[attr-defined]
            seen.append({ring.in_use(uuid), new} <= ring.told[-1])

    ring.nodes.before = look
    ring.run(RENEW, node_certificates=True)
    assert seen == [True, True, True]


def test_the_authority_is_replaced(ring: Keyring) -> None:
    """Two are trusted while all is signed anew; every candidate has the key of the one that stays."""
    old = ring.trusted(NODE1)
    end = ring.run(RENEW, cluster_certificate=True)
    assert (end.result, end.error) == (None, None), ring.said
    new = ring.trusted(NODE1)
    assert len(new) == 1
    assert new != old
    for uuid in ALL:
        assert ring.trusted(uuid) == new
        signing_authority(new[0], ring.layouts[uuid].authority_key.read_bytes())
        check_signed(load_identity(ring.layouts[uuid].node_pem).certificate, new[0])
        check_signed(load_identity(ring.layouts[uuid].rapi_pem).certificate, new[0])
        assert not list(ring.layouts[uuid].data.glob("*.new"))
    assert [step.node for step in ring.performed if isinstance(step, Entrust)] == [NODE2, NODE3]
    ring.whole()


def test_a_certificate_that_was_bought_stays(ring: Keyring) -> None:
    """A new authority replaces only what the old one signed; asked for by name, the remote API gets a new one."""
    stranger = make_authority("x", now=NOW, source=random.Random(9))  # noqa: S311
    bought = make_rapi(stranger, cluster_name="x", names=[], addresses=[], now=NOW, source=random.Random(8))  # noqa: S311
    ring.layouts[NODE1].rapi_pem.write_bytes(bought.pem())
    ring.run(RENEW, cluster_certificate=True)
    assert ring.layouts[NODE1].rapi_pem.read_bytes() == bought.pem()
    certificates = ring.journal.head.settings.candidate_certs
    assert ring.run(RENEW, rapi_certificate=True).error is None
    assert ring.layouts[NODE1].rapi_pem.read_bytes() != bought.pem()
    assert ring.journal.head.settings.candidate_certs == certificates


def test_a_certificate_that_is_given_goes_to_all_candidates(ring: Keyring) -> None:
    """From the master's disk; it excludes making a new one."""
    assert ring.run(RENEW, rapi_certificate_given=True).error is None
    assert ring.performed[1:] == [Entrust(NODE2, rapi=True), Entrust(NODE3, rapi=True)]
    assert ring.nodes.made == []
    assert "not both" in ring.refused(RENEW, rapi_certificate=True, rapi_certificate_given=True)


def test_a_node_that_is_offline_is_named_and_left(ring: Keyring) -> None:
    """It is not asked; its digest counts no more."""
    node = replace(ring.journal.head.nodes[NODE3], offline=True, master_candidate=False)
    ring.journal.head = ring.journal.head.put(node)
    before = ring.in_use(NODE3)
    assert ring.run(RENEW, node_certificates=True).error is None
    assert any("node3.example.com is offline" in line for line in ring.said)
    assert ring.in_use(NODE3) == before
    assert set(ring.journal.head.settings.candidate_certs) == {NODE1, NODE2}
    assert NODE3 not in [node for node, _ in ring.nodes.made]


def test_what_is_refused(ring: Keyring) -> None:
    """Nothing named, SSH keys, and a node that is online and does not answer; nothing has changed then."""
    assert "Nothing to renew" in ring.refused(RENEW)
    assert "no SSH keys" in ring.refused(RENEW, renew_ssh_keys=True)
    assert "no SSH keys" in ring.refused(RENEW, node_certificates=True, ssh_key_bits=4096)
    verify = ring.nodes.answers["node_verify"]
    ring.nodes.answers["node_verify"] = lambda node, call: (
        NotReached("cut off") if node == NODE2 else verify(node, call)
    )
    assert "node2.example.com (cut off)" in ring.refused(RENEW, cluster_certificate=True)


def test_no_key_is_in_a_row_or_a_line(ring: Keyring) -> None:
    """Whatever is committed or told is public."""
    ring.run(RENEW, cluster_certificate=True)
    changes = repr(ring.journal.commits) + repr(ring.said) + repr(ring.nodes.made)
    assert "BEGIN CERTIFICATE" in changes
    assert "PRIVATE" not in changes


def test_a_node_that_cannot_install(ring: Keyring) -> None:
    """The others have gone on, both of its certificates count, the job names it; the command again heals all."""
    install = ring.nodes.answers["certificate_install"]
    bad = NodeFailure("storage_error", "no space")
    ring.nodes.answers["certificate_install"] = lambda node, call: bad if node == NODE2 else install(node, call)
    end = ring.run(RENEW, node_certificates=True)
    assert end.error is not None
    assert "node2.example.com still uses the former certificate" in end.error.text
    assert len(ring.counting()) == 6
    ring.whole()
    ring.nodes.answers["certificate_install"] = install
    assert ring.run(RENEW, node_certificates=True).error is None
    assert len(ring.counting()) == 3
    ring.whole()


def test_nodes_that_are_not_told_stop_it_before_anything_is_used(ring: Keyring) -> None:
    """No certificate is installed while a node may not know it."""
    old = {uuid: ring.in_use(uuid) for uuid in ALL}

    def fail(step: ByMaster) -> None:
        if isinstance(step, Tell):
            raise Failed("node3.example.com was not told: cut off")

    ring.failing = fail
    end = ring.run(RENEW, node_certificates=True)
    assert end.error is not None
    assert "was not told" in end.error.text
    assert {uuid: ring.in_use(uuid) for uuid in ALL} == old
    ring.whole()


class Mortal(Nodes):
    """Nodes whose master dies at a call: `cut` names it and its node; `after` the node has done it."""

    cut = ("", "")
    after = False
    dead = False

    async def call(self, node: str, call: NodeCall[Any], *, id: str | None = None) -> Any:
        """Make a call, unless nobody lives to make it."""
        if self.cut == (call.tag(), node) and not self.dead:
            self.dead = True
            if self.after:
                await super().call(node, call, id=id)
        if self.dead:
            await Deferred()
        return await super().call(node, call, id=id)


MOMENTS = [
    *((tag, NODE1) for tag in ("authority_make", "authority_adopt", "certificate_sign")),
    *((tag, node) for tag in ("authority_trust", "certificate_request") for node in (NODE1, NODE3)),
    *(("certificate_install", node) for node in ALL),
    *((tag, node) for tag in ("rapi_renew", "authority_distrust") for node in (NODE1, NODE3)),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_master_that_dies_in_the_middle(ring: Keyring, moment: tuple[str, str], *, after: bool) -> None:
    """After recovery every certificate in use counts and is trusted; then the command goes through."""
    mortal = Mortal(answers=ring.nodes.answers)
    mortal.cut, mortal.after = moment, after
    op = ClusterRenewCrypto(cluster_certificate=True)
    ring.begin(mortal, op)
    assert mortal.dead
    ring.whole()
    recovers(ring, mortal)


def recovers(ring: Keyring, mortal: Mortal) -> None:
    """See that a new master settles what one left, and that the command then goes through."""
    ring.nodes.outcomes = mortal.outcomes
    ring.engine = ring.engine_on(ring.nodes)
    run = Run(ClusterRenewCrypto(cluster_certificate=True))
    ended: list[Any] = []
    ensureDeferred(ring.engine.recover(run)).addBoth(ended.append)
    assert run.end is not None, ended
    assert run.end.error is not None
    assert not [key for key in ring.journal.rows_ if key[0] in {Space.UNDO, Space.DEBT}]
    ring.whole()
    ring.nodes.outcomes = {}
    again = ring.run(RENEW, cluster_certificate=True)
    assert again.error is None, again.error
    ring.whole()
    assert {len(ring.trusted(uuid)) for uuid in ALL} == {1}
    assert len(ring.counting()) == 3


@pytest.mark.parametrize("step", range(6))
def test_a_master_that_dies_beside_the_calls(ring: Keyring, step: int) -> None:
    """While it tells the nodes, connects anew, or gives away the key."""
    mortal = Mortal(answers=ring.nodes.answers)
    ring.deadly = step
    ring.begin(mortal, ClusterRenewCrypto(cluster_certificate=True))
    assert len(ring.performed) == step
    ring.deadly = -1
    ring.whole()
    recovers(ring, mortal)


def found(ring: Keyring) -> list[str]:
    """Give the lines of a check of the group that concern certificates of nodes."""
    ring.run("OP_CLUSTER_VERIFY_GROUP", group_name="default", error_codes=True)
    lines = list(ring.said)
    ring.run("OP_CLUSTER_VERIFY_CONFIG", error_codes=True)
    return [line for line in (*lines, *ring.said) if "ECLUSTERCLIENTCERT" in line]


def test_verify_compares_digests(ring: Keyring) -> None:
    """A renewal that was cut off is a warning; what counts nowhere, twice, or for no candidate is an error."""
    assert found(ring) == []
    install = ring.nodes.answers["certificate_install"]
    ring.nodes.answers["certificate_install"] = lambda _n, _c: NodeFailure("storage_error", "no space")
    ring.run(RENEW, node_certificates=True)
    (line,) = found(ring)
    assert "WARNING" in line
    assert "was cut off" in line
    ring.nodes.answers["certificate_install"] = install
    ring.run(RENEW, node_certificates=True)
    assert found(ring) == []
    pem = ring.layouts[NODE2].node_pem.read_bytes()
    ring.layouts[NODE3].node_pem.write_bytes(pem)
    lines = found(ring)
    assert any("node3.example.com:uses a certificate" in line for line in lines)
    assert sum("the same certificate" in line for line in lines) == 2
    node = replace(ring.journal.head.nodes[NODE3], master_candidate=False)
    ring.journal.head = ring.journal.head.put(node)
    assert any("node3.example.com:is no master candidate" in line for line in found(ring))


def test_a_plan_says_what_it_can(ring: Keyring) -> None:
    """`--plan` changes nothing, and names the stages that depend on answers."""
    planner = Planner(ring.journal, ring.journal, ring.nodes, Resolver(), ring.fresh)
    told: list[Any] = []
    op = ClusterRenewCrypto(cluster_certificate=True)
    ensureDeferred(planner.plan([op])).addBoth(told.append)
    ((plan,),) = told
    assert plan["refused"] is None
    assert [step.kind for step in plan["steps"]] == ["reconnect", "note", "undoable"]
    assert len(plan["then"]) == 8
    assert ring.nodes.made == []
