"""The calls about the node itself."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gnt.model.errors import NodeFailure, Refused
from gnt.noded.handler import Place
from gnt.noded.machine import IMachine, Machine
from gnt.noded.membership import MembershipFile
from gnt.noded.node import LEAVE_DELAY, NodeItself
from gnt.noded.processes import Finished
from gnt.noded.storage.units import StorageUnits
from gnt.wire.calls import (
    BridgeCheck,
    Configure,
    Delay,
    HypervisorFacts,
    InstallAuthority,
    InterfaceCheck,
    LeaveCluster,
    NodeInfo,
    NodeVerify,
    Peer,
    StorageUnit,
    Version,
)
from gnt.wire.certificates import Identity, digest, make_authority, make_key, make_request, sign_node
from tests.noded.places import InlinePool, ask, begin, context, place_below, refused
from tests.noded.storage.test_units import Scripted
from tests.noded.test_membership import member

_trial: Any = SynchronousTestCase()

NOW = 1_700_000_000.0


class Knowing:
    """Hypervisors with settled answers: `kvm` is fine, `xen-pvm` is not there."""

    async def node_facts(self, names: Iterable[str]) -> tuple[dict[str, HypervisorFacts], dict[str, str]]:
        """Give facts of kvm, a problem of all others."""
        facts = HypervisorFacts(memory_total=4, memory_free=2, memory_dom0=1, cpu_total=2)
        known = {name: facts for name in names if name == "kvm"}
        return known, {name: "not there" for name in names if name != "kvm"}

    async def verify(self, names: Iterable[str]) -> dict[str, str]:
        """Give problems of all but kvm."""
        return {name: "not there" for name in names if name != "kvm"}

    async def check(self, hypervisor: str, parameters: Mapping[str, Any]) -> None:
        """Refuse the parameter `bad`."""
        if "bad" in parameters:
            raise NodeFailure("parameter", f"{hypervisor}: bad does not fit")


@implementer(IMachine)
class Imagined:
    """A machine with one bridge, whose network answers as the test wants."""

    def __init__(self) -> None:
        self.tries: list[tuple[str, int, str]] = []
        self.answers: dict[str, Deferred[bool]] = {}

    def boot_id(self) -> str:
        """Give the one boot."""
        return "boot-1"

    def missing_bridges(self, names: Iterable[str]) -> list[str]:
        """Have br0 only."""
        return [name for name in names if name != "br0"]

    def missing_interfaces(self, names: Iterable[str]) -> list[str]:
        """Have br0 only."""
        return self.missing_bridges(names)

    def reach(self, address: str, port: int, source: str) -> Deferred[bool]:
        """Remember, and answer when the test does."""
        self.tries.append((address, port, source))
        return self.answers.setdefault(address, Deferred())


class Kit:
    """A node for one test."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self.pools: dict[str, InlinePool] = {}
        self.place: Place = place_below(
            root,
            clock=self.clock,  # type: ignore[arg-type]
            pools=lambda name: self.pools.setdefault(name, InlinePool()),
        )
        self.layout = self.place.layout
        self.layout.data.mkdir(parents=True)
        self.membership = MembershipFile(self.layout)
        self.machine = Imagined()
        self.ended: list[float] = []
        self.part = NodeItself(
            self.place,
            membership=self.membership,
            hypervisors=Knowing(),
            storage=StorageUnits(self.place, Scripted(Finished(status=0, signal=None))),
            machine=self.machine,
            end=lambda: self.ended.append(self.clock.seconds()),
            orphans=lambda: ["call-7"],
        )


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """Give a node."""
    return Kit(tmp_path)


def authority(seed: int = 1) -> Identity:
    """Give a cluster's authority."""
    return make_authority("c", now=NOW, source=random.Random(seed))  # noqa: S311


def node_pem(signer: Identity) -> bytes:
    """Give a node's key and certificate."""
    key = make_key()
    request = make_request(key, "node1")
    source = random.Random(2)  # noqa: S311
    return key + sign_node(signer, request, name="node1", uuid="n1", addresses=[], now=NOW, source=source)


def test_version(kit: Kit) -> None:
    """The protocol number that clients know, our release, and the UUID once the node has joined."""
    answer = ask(kit.part, Version())
    assert (answer.protocol, answer.name, answer.uuid) == (3010000, "node1.example.com", "")
    kit.membership.store(member())
    assert ask(kit.part, Version()).uuid == "n1"


def test_info(kit: Kit, tmp_path: Path) -> None:
    """Boot, storage and hypervisors; what does not answer is a problem and no failure."""
    call = NodeInfo(storage=[StorageUnit(kind="file", key=str(tmp_path))], hypervisors={"kvm": {}, "xen-pvm": {}})
    answer = ask(kit.part, call)
    assert answer.boot_id == "boot-1"
    assert answer.storage[0].size > 0
    assert list(answer.hypervisors) == ["kvm"]
    assert answer.problems == {"xen-pvm": "not there"}


def test_verify_reaches_all_peers_side_by_side(kit: Kit) -> None:
    """Both addresses of each from our own ones; what fails is named; nobody waits for another."""
    kit.layout.ssconf("node_primary_ips").write_text("node1.example.com 10.0.0.1\nnode2 10.0.0.2\n")
    kit.layout.ssconf("node_secondary_ips").write_text("node1.example.com 10.1.0.1\nnode2 10.1.0.2\n")
    peers = [
        Peer(name="node2", primary_ip="10.0.0.2", secondary_ip="10.1.0.2"),
        Peer(name="node3", primary_ip="10.0.0.3", secondary_ip="10.1.0.3", port=1999),
        Peer(name="node4", primary_ip="10.0.0.4", secondary_ip="10.0.0.4"),
        Peer(name="node5", primary_ip="10.0.0.5", secondary_ip="10.1.0.5"),
    ]
    asking = begin(kit.part, NodeVerify(peers=peers))
    assert set(kit.machine.tries) == {
        ("10.0.0.2", 1811, "10.0.0.1"),
        ("10.1.0.2", 1811, "10.1.0.1"),
        ("10.0.0.3", 1999, "10.0.0.1"),
        ("10.1.0.3", 1999, "10.1.0.1"),
        ("10.0.0.4", 1811, "10.0.0.1"),
        ("10.0.0.5", 1811, "10.0.0.1"),
        ("10.1.0.5", 1811, "10.1.0.1"),
    }
    for address, answer in kit.machine.answers.items():
        answer.callback(address not in {"10.0.0.3", "10.1.0.3", "10.0.0.4", "10.1.0.5"})
    assert _trial.successResultOf(asking).unreachable == {
        "node3": "failure using the primary and secondary interface(s)",
        "node4": "failure using the primary interface(s)",
        "node5": "failure using the secondary interface(s)",
    }


def test_verify_everything_else(kit: Kit, tmp_path: Path) -> None:
    """Hypervisors, parameters, digests, storage, bridges, certificate: only what is wrong, and what was asked for."""
    kit.layout.node_pem.write_bytes(node_pem(authority()))
    kit.layout.default_file_storage().mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"content")
    answer = ask(
        kit.part,
        NodeVerify(
            hypervisors=["kvm", "xen-pvm"],
            parameters=[("cluster", "kvm", {"good": 1}), ("instance web1", "kvm", {"bad": 1})],
            files=[str(tmp_path / "file"), str(tmp_path / "missing"), str(tmp_path), "a\0b"],
            storage_paths={"file": str(kit.layout.default_file_storage()), "sharedfile": "/etc", "rbd": "x"},
            bridges=["br0", "br1"],
        ),
    )
    assert answer.hypervisors == {"xen-pvm": "not there"}
    assert answer.parameters == [("instance web1", "kvm", "kvm: bad does not fit")]
    assert answer.files == {str(tmp_path / "file"): hashlib.sha1(b"content").hexdigest()}  # noqa: S324
    assert answer.storage_paths == {
        "sharedfile": "Path '/etc' uses a forbidden prefix",
        "rbd": "storage of the kind 'rbd' is not supported yet",
    }
    assert answer.bridges_missing == ["br1"]
    assert answer.certificate == digest(kit.layout.node_pem.read_bytes())
    assert answer.certificate_ends == NOW + 2 * 365 * 86400
    assert answer.orphan_calls == ["call-7"]
    assert answer.kept_aside == []


def test_files_with_what_the_log_has_lost_are_told(kit: Kit) -> None:
    """By their paths, the store itself and what else lies there left out."""
    store = kit.layout.config_db
    store.parent.mkdir(parents=True, exist_ok=True)
    lost = store.with_name("config.db.lost-2-7-9")
    for path in (store, lost, store.with_name("config.db.aside")):
        path.touch()
    assert ask(kit.part, NodeVerify()).kept_aside == [str(lost)]


def test_bridges(kit: Kit) -> None:
    """Those that are missing."""
    assert ask(kit.part, BridgeCheck(bridges=["br0", "br9"])) == ["br9"]
    assert ask(kit.part, InterfaceCheck(interfaces=["br0", "nope0"])) == ["nope0"]


def test_configure_writes_and_replaces(kit: Kit) -> None:
    """Ssconf world-readable and read-only, ending in a newline; config.data private; membership stored."""
    first = {"master_node": "node1", "cluster_tags": "", "hvparams_xen-pvm": "a=b\n"}
    ask(kit.part, Configure(membership=member(1), files=first, config_data="{}"))
    assert kit.layout.ssconf("master_node").read_text() == "node1\n"
    assert kit.layout.ssconf("cluster_tags").read_text() == ""
    assert kit.layout.ssconf("hvparams_xen-pvm").read_text() == "a=b\n"
    assert kit.layout.ssconf("master_node").stat().st_mode & 0o777 == 0o444
    assert kit.layout.config_data.stat().st_mode & 0o777 == 0o600
    assert kit.membership.current == member(1)
    ask(kit.part, Configure(membership=member(2), files={"master_node": "node2"}))
    assert kit.layout.ssconf("master_node").read_text() == "node2\n"
    assert kit.layout.config_data.read_text() == "{}"


def test_configure_leaves_files_alone_that_say_the_same_already(kit: Kit) -> None:
    """Of some thirty small files one or two change; but one that somebody made writable is put right."""
    files = {"master_node": "node1", "cluster_tags": "", "nodegroups": "x"}
    ask(kit.part, Configure(membership=member(1), files=files))
    paths = [kit.layout.ssconf(name) for name in files]
    kit.layout.ssconf("nodegroups").chmod(0o644)
    before = [path.stat().st_ino for path in paths]
    ask(kit.part, Configure(membership=member(2), files=files | {"master_node": "node2"}))
    after = [path.stat().st_ino for path in paths]
    assert [new == old for new, old in zip(after, before, strict=True)] == [False, True, False]
    assert kit.layout.ssconf("nodegroups").stat().st_mode & 0o777 == 0o444


def test_configure_that_comes_late_changes_nothing(kit: Kit) -> None:
    """An older position is ignored, the same one is repeated."""
    ask(kit.part, Configure(membership=member(5), files={"master_node": "new"}))
    ask(kit.part, Configure(membership=member(4), files={"master_node": "old"}, config_data="old"))
    assert kit.layout.ssconf("master_node").read_text() == "new\n"
    assert not kit.layout.config_data.exists()
    kit.layout.ssconf("master_node").unlink()
    ask(kit.part, Configure(membership=member(5), files={"master_node": "new"}))
    assert kit.layout.ssconf("master_node").read_text() == "new\n"


def test_a_node_that_is_no_candidate_loses_its_copy(kit: Kit) -> None:
    """config.data is for candidates only."""
    ask(kit.part, Configure(membership=member(1), files={}, config_data="{}"))
    ask(kit.part, Configure(membership=member(2, candidates={"n2": "bb"}), files={}))
    assert not kit.layout.config_data.exists()


@pytest.mark.parametrize("name", ["../server.pem", "", "a/b", "A", "a b"])
def test_names_that_are_no_ssconf_names(kit: Kit, name: str) -> None:
    """No file of another name is ever written; nothing else of the call is either."""
    failure = refused(kit.part, Configure(membership=member(1), files={"master_node": "x", name: "x"}))
    assert failure.code == "wrong_input"
    assert list(kit.layout.data.iterdir()) == []


def test_configure_of_another_node_or_cluster(kit: Kit) -> None:
    """Refused, and nothing is written."""
    other = member(1, node_name="node2.example.com")
    assert "This node is node1.example.com" in refused(kit.part, Configure(membership=other, files={})).text
    ask(kit.part, Configure(membership=member(1), files={}))
    failure = refused(kit.part, Configure(membership=member(9, cluster_uuid="x"), files={"master_node": "x"}))
    assert failure.code == "other_cluster"
    assert not kit.layout.ssconf("master_node").exists()


def test_a_value_that_is_too_long(kit: Kit) -> None:
    """128 KiB, as readers expect."""
    failure = refused(kit.part, Configure(membership=member(1), files={"node_list": "x" * 131072}))
    assert "ssconf_node_list" in failure.text


def test_a_disk_that_cannot_be_written(kit: Kit) -> None:
    """A definite failure with the path; the membership stays what it was."""
    kit.layout.config_data.mkdir()
    failure = refused(kit.part, Configure(membership=member(1), files={}, config_data="{}"))
    assert failure.code == "storage_error"
    assert kit.membership.current is None


def test_the_authority_comes_and_goes(kit: Kit) -> None:
    """The key 0600 while the node is a candidate; its certificate stays, everybody needs it."""
    ours = authority()
    call = InstallAuthority(certificate=ours.certificate.decode(), key=ours.key.decode())
    ask(kit.part, call)
    ask(kit.part, call)
    assert kit.layout.authority_key.stat().st_mode & 0o777 == 0o600
    assert kit.layout.authority_key.read_bytes() == ours.key
    assert kit.layout.authority_certificate.stat().st_mode & 0o777 == 0o644
    ask(kit.part, InstallAuthority(certificate="", key=""))
    assert not kit.layout.authority_key.exists()
    assert kit.layout.authority_certificate.read_bytes() == ours.certificate


def test_another_authority_is_refused(kit: Kit) -> None:
    """Neither one that differs from ours, nor one that did not sign this node, nor a key of another."""
    ours, other = authority(1), authority(2)
    wrong = InstallAuthority(certificate=other.certificate.decode(), key=other.key.decode())
    kit.layout.node_pem.write_bytes(node_pem(ours))
    _trial.failureResultOf(begin(kit.part, wrong), Refused)
    kit.layout.authority_certificate.write_bytes(ours.certificate)
    assert refused(kit.part, wrong).code == "other_cluster"
    mixed = InstallAuthority(certificate=ours.certificate.decode(), key=other.key.decode())
    error = _trial.failureResultOf(begin(kit.part, mixed)).value
    assert "do not belong together" in str(error)
    assert "PRIVATE" not in str(error)
    assert not kit.layout.authority_key.exists()


def test_leaving(kit: Kit) -> None:
    """Everything of the cluster goes, the administrator's own stays; the daemon ends once, after the answer."""
    kit.membership.store(member())
    for name in (
        "ca.pem",
        "ca.key",
        "server.pem",
        "rapi.pem",
        "config.db",
        "config.db-wal",
        "config.data",
        "calls.db",
        "calls.db-wal",
        "ssconf_master_node",
        ".ca.key.x1.new",
        "known_hosts",
        "rapi/users",
        "queue/serial",
        "queue/archive/0/job-1",
    ):
        (kit.layout.data / name).parent.mkdir(parents=True, exist_ok=True)
        (kit.layout.data / name).write_text("x")
    ask(kit.part, LeaveCluster())
    left = [str(path.relative_to(kit.layout.data)) for path in kit.layout.data.rglob("*") if path.is_file()]
    assert left == ["rapi/users"]
    assert kit.membership.current is None
    assert kit.ended == []
    ask(kit.part, LeaveCluster())
    kit.clock.advance(LEAVE_DELAY)
    assert kit.ended == [LEAVE_DELAY]


def test_what_waited_behind_the_order_to_leave_is_refused(kit: Kit) -> None:
    """Configuration that was on its way would make the node a member again: it could not be added any more."""
    kit.membership.store(member())
    ask(kit.part, LeaveCluster())
    for late in (
        Configure(membership=member(9), files={"master_node": "node1"}),
        InstallAuthority(certificate="", key=""),
    ):
        assert refused(kit.part, late).code == "wrong_state"
    assert not kit.layout.membership.exists()
    assert not kit.layout.ssconf("master_node").exists()


def test_leaving_waits_for_the_thread_that_writes_the_log(kit: Kit) -> None:
    """A store that is being set aside at that moment is found and removed too, with the secrets in it."""
    kit.membership.store(member())
    (kit.layout.data / "config.db").write_text("secrets")

    class SetsAside(InlinePool):
        def run(self, work: Any, *args: Any, **kwargs: Any) -> Any:
            store = kit.layout.data / "config.db"
            if store.exists():
                store.rename(store.with_name("config.db.aside"))
            return super().run(work, *args, **kwargs)

    kit.pools["log"] = SetsAside()
    ask(kit.part, LeaveCluster())
    assert not list(kit.layout.data.glob("config.db*"))


def test_leaving_that_was_cut_short_can_be_ordered_again(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's own certificate and its membership go last."""
    kit.membership.store(member())
    for name in ("ca.key", "server.pem", "ca.pem", "ssconf_a", "ssconf_b"):
        (kit.layout.data / name).write_text("x")
    unlink = Path.unlink

    def cut(path: Path, missing_ok: bool = False) -> None:
        if path.name == "ssconf_b":
            raise OSError(5, "Input/output error", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", cut)
    assert refused(kit.part, LeaveCluster()).code == "storage_error"
    monkeypatch.undo()
    assert {path.name for path in kit.layout.data.iterdir()} == {"ssconf_b", "ca.pem", "server.pem", "membership.json"}
    assert kit.clock.getDelayedCalls() == []


def test_delay(kit: Kit) -> None:
    """Answers after that time, refuses less than nothing."""
    waiting = begin(kit.part, Delay(seconds=5.0))
    kit.clock.advance(4.9)
    _trial.assertNoResult(waiting)
    kit.clock.advance(0.2)
    assert _trial.successResultOf(waiting) is None
    assert refused(kit.part, Delay(seconds=-1.0)).code == "wrong_input"


def test_a_delay_can_be_aborted(kit: Kit) -> None:
    """A fence does not wait an hour for it."""
    within = context()
    waiting = begin(kit.part, Delay(seconds=3600.0), within)
    within.on_abort[0]()
    assert _trial.failureResultOf(waiting, NodeFailure).value.code == "aborted"
    assert kit.clock.getDelayedCalls() == []


class MachineTests(TestCase):
    """The real machine, on loopback."""

    def setUp(self) -> None:
        """Make one."""
        self.machine = Machine(reactor)

    async def test_provides_the_interface(self) -> None:
        """What the parts of the daemon expect."""
        assert verifyObject(IMachine, self.machine)

    async def test_reach(self) -> None:
        """Somebody who listens answers, also from an address of ours; being refused is an answer too."""
        port: Any = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")  # type: ignore[attr-defined]
        number = port.getHost().port
        assert await self.machine.reach("127.0.0.1", number, "127.0.0.9")
        await port.stopListening()
        assert await self.machine.reach("127.0.0.1", number, "")

    async def test_an_address_that_is_not_ours(self) -> None:
        """Connecting from a foreign address fails, and says so."""
        assert not await self.machine.reach("127.0.0.1", 1, "192.0.2.1")


def test_bridges_of_the_real_machine(tmp_path: Path) -> None:
    """A bridge has a directory `bridge`; other interfaces and strange names are none."""
    (tmp_path / "sys/class/net/br0/bridge").mkdir(parents=True)
    (tmp_path / "sys/class/net/eth0").mkdir()
    machine = Machine(reactor, system=tmp_path)
    assert machine.missing_bridges(["br0", "eth0", "", "..", "../net/br0"]) == ["eth0", "", "..", "../net/br0"]
    assert machine.missing_interfaces(["br0", "eth0", "nope0", "", "..", "../net/br0"]) == [
        "nope0",
        "",
        "..",
        "../net/br0",
    ]


def test_the_boot_id_of_the_real_machine() -> None:
    """A UUID, the same all the time."""
    assert Machine(reactor).boot_id() == Machine(reactor).boot_id() != ""
