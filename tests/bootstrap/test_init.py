"""Making a cluster of this machine: what is written, what is refused, and that a failure leaves nothing behind."""

from __future__ import annotations

import io
import socket
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from gnt.bootstrap import init, plain_machine, this_node
from gnt.bootstrap.__main__ import VERBS
from gnt.bootstrap.daemons import ALL
from gnt.bootstrap.init import ClusterInit, InitRequest
from gnt.model.errors import GntError, Refused, Unsupported
from gnt.model.layout import Layout
from gnt.model.ssconf import KEYS
from gnt.store.database import Database
from gnt.store.reading import Reader
from gnt.store.vault import FileVault
from gnt.wire import certificates
from gnt.wire.calls import Membership
from tests.bootstrap.world import PREFIX, STEPS, PretendedDaemons, failing_write, machine, state

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give a plain machine."""
    return machine(tmp_path / "node1")


@pytest.fixture
def daemons(layout: Layout) -> PretendedDaemons:
    """Give daemons that only pretend."""
    return PretendedDaemons(layout)


@pytest.fixture
def said() -> list[str]:
    """Give what was told to the administrator."""
    return []


@pytest.fixture
def run(layout: Layout, daemons: PretendedDaemons, said: list[str]) -> Run:
    """Give init with options."""

    def init(*, host: str = "node1", **options: Any) -> dict[str, Any]:
        request = InitRequest(**{"cluster_name": "demo", "enabled_hypervisors": ["fake"], **options})
        return ClusterInit(request, layout, host, said.append, daemons=daemons.as_daemons()).run()

    return init


def refuse(run: Run, layout: Layout, text: str, kind: type[GntError] = Refused, **options: Any) -> None:
    """See that init is refused with these words and changes nothing."""
    before = state(layout)
    with pytest.raises(kind) as refused:
        run(**options)
    assert text in refused.value.text, refused.value.text
    assert "\n" not in refused.value.text
    assert state(layout) == before


# What it makes


def test_a_machine_becomes_a_cluster(run: Run, layout: Layout, daemons: PretendedDaemons) -> None:
    """Store, certificates, views and directories are there with their modes, and the daemons run, in their order."""
    result = run()
    assert (result["cluster"], result["master"]) == ("demo", "node1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in layout.data.iterdir()}
    secret = ("ca.key", "server.pem", "rapi.pem", "config.db", "config.data", "membership.json")
    assert {name: modes[name] for name in secret} == dict.fromkeys(secret, 0o600)
    assert modes["ca.pem"] == 0o644
    assert {modes[f"ssconf_{key}"] for key in KEYS} == {0o444}
    assert [step for step in daemons.steps if step.startswith("start")] == [f"start {name}" for name in ALL]


def test_certificates_are_of_the_new_authority(run: Run, layout: Layout) -> None:
    """Node and RAPI certificates are signed by the authority and name node and cluster."""
    run()
    authority = layout.authority_certificate.read_bytes()
    assert certificates.facts(authority).authority
    for path, name in ((layout.node_pem, "node1"), (layout.rapi_pem, "demo")):
        identity = certificates.load_identity(path)
        certificates.check_signed(identity.certificate, authority)
        found = certificates.facts(identity.certificate)
        assert name in found.names
        assert f"{PREFIX}.1" in found.addresses
        assert 1.9 < (found.ends - found.begins) / (365 * 86400) < 2.1


def test_the_store_has_the_configuration(run: Run, layout: Layout) -> None:
    """The store opens, is committed, names this node as master, and knows its certificate; membership agrees."""
    result = run()
    reader = Reader.open(layout.config_db)
    try:
        cluster = reader.load_cluster()
    finally:
        reader.close()
    digest = certificates.digest(certificates.load_identity(layout.node_pem).certificate)
    assert (cluster.settings.uuid, cluster.master.name) == (result["uuid"], "node1")
    assert cluster.settings.candidate_certs == {cluster.master.uuid: digest}
    member = msgspec.json.decode((layout.data / "membership.json").read_bytes(), type=Membership)
    assert (member.cluster_uuid, member.node_uuid) == (result["uuid"], cluster.master.uuid)
    assert member.candidates == {cluster.master.uuid: digest}
    FileVault(layout.config_db).hold("somebody else")


def test_options_become_settings(run: Run, layout: Layout, tmp_path: Path) -> None:
    """Options reach the configuration; storage directories are made, and allowed."""
    run(
        candidate_pool_size=3,
        mac_prefix="AA:bb:cc",
        file_storage_dir="/disks",
        shared_file_storage_dir=str(tmp_path / "s"),
    )
    reader = Reader.open(layout.config_db)
    try:
        settings = reader.load_cluster().settings
    finally:
        reader.close()
    assert (settings.candidate_pool_size, settings.mac_prefix) == (3, "aa:bb:cc")
    # A node's own directory lies below its root, one that all share is where it is.
    assert (settings.file_storage_dir, settings.shared_file_storage_dir) == ("/disks", str(tmp_path / "s"))
    for place in (layout.root / "disks", tmp_path / "s"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o750
        assert str(place) in layout.file_storage_paths.read_text().splitlines()


def test_what_the_administrator_made_is_kept(run: Run, layout: Layout, said: list[str]) -> None:
    """A RAPI certificate and a list of directories that are there stay as they are, and that is said."""
    layout.data.mkdir(parents=True)
    layout.rapi_pem.write_bytes(b"mine")
    layout.file_storage_paths.parent.mkdir(parents=True)
    layout.file_storage_paths.write_text("/mine\n")
    run()
    assert layout.rapi_pem.read_bytes() == b"mine"
    assert layout.file_storage_paths.read_text() == "/mine\n"
    assert sum("keeping" in text for text in said) == 2


def test_a_name_without_address_is_said(run: Run, said: list[str]) -> None:
    """A cluster whose name does not resolve is reached at the master's address, said aloud."""
    run(cluster_name="nowhere.invalid")
    assert any("nowhere.invalid does not resolve" in text for text in said)


# Undo


def test_every_failed_write_is_undone(run: Run, layout: Layout, daemons: PretendedDaemons) -> None:
    """Whichever file cannot be written, the machine is as before."""
    before = state(layout)
    for number in range(1, 200):
        with failing_write(number) as written:
            try:
                run()
            except OSError as error:
                failed = error.filename
            else:
                break
        assert failed == str(written[-1])
        assert state(layout) == before, failed
        assert not daemons.running
    assert len(written) == number - 1 >= len(KEYS) + 6


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.replace(PREFIX, "127.0.0"))
def test_every_daemon_that_fails_is_undone(run: Run, layout: Layout, daemons: PretendedDaemons, step: str) -> None:
    """Whichever daemon does not start or answer: all are ended, and what they wrote is removed."""
    daemons.fails = step
    refuse(run, layout, f"{step} failed", GntError)
    assert not daemons.running


@pytest.mark.parametrize("method", ["create", "hold", "append", "mark_committed"])
def test_a_store_that_fails_is_undone(run: Run, layout: Layout, method: str) -> None:
    """Whichever step of writing the store fails, nothing is left of it."""
    before = state(layout)
    owner = Database if method in {"append", "mark_committed"} else FileVault
    with (
        mock.patch.object(owner, method, side_effect=sqlite3.OperationalError("disk full")),
        pytest.raises(sqlite3.OperationalError),
    ):
        run()
    assert state(layout) == before


def test_undo_keeps_what_was_there(run: Run, layout: Layout, daemons: PretendedDaemons) -> None:
    """What the administrator had made survives a failure, and a second try works."""
    layout.data.mkdir(parents=True)
    layout.rapi_pem.write_bytes(b"mine")
    (layout.data / "rapi").mkdir()
    (layout.data / "rapi/users").write_text("me secret write\n")
    daemons.fails = "wait gnt-masterd"
    refuse(run, layout, "failed", GntError)
    daemons.fails = ""
    run()
    assert layout.rapi_pem.read_bytes() == b"mine"


def test_logs_stay(run: Run, layout: Layout, daemons: PretendedDaemons) -> None:
    """The log of a daemon that failed is what the administrator needs next."""
    real = daemons.start

    def start(name: str) -> None:
        (layout.log / "node-daemon.log").write_text("why\n")
        real(name)

    daemons.start = start  # type: ignore[method-assign]
    daemons.fails = "start gnt-noded"
    with pytest.raises(GntError):
        run()
    assert (layout.log / "node-daemon.log").read_text() == "why\n"
    assert not layout.data.exists()


def test_a_daemon_that_does_not_end_hides_nothing(
    run: Run, layout: Layout, daemons: PretendedDaemons, said: list[str]
) -> None:
    """When undoing meets a daemon that does not end, the first failure is still the one that is reported."""
    stop = daemons.stop

    def stubborn(name: str) -> None:
        stop(name)
        raise GntErrorLike(f"{name} does not end")

    from gnt.model.errors import Failed as GntErrorLike

    daemons.stop = stubborn  # type: ignore[method-assign]
    daemons.fails = "wait gnt-masterd"
    refuse(run, layout, "wait gnt-masterd failed", GntError)
    assert any("does not end" in text for text in said)


# Refusals


@pytest.mark.parametrize("name", ["config.db", "server.pem", "ca.pem"])
def test_a_cluster_that_is_there_is_refused(run: Run, layout: Layout, name: str) -> None:
    """Any trace of a cluster of ours is enough to refuse."""
    layout.data.mkdir(parents=True)
    (layout.data / name).write_bytes(b"")
    refuse(run, layout, "belongs to a cluster already")


@pytest.mark.parametrize("name", ["config.data", "hmac.key", "ssconf_cluster_name"])
def test_another_programs_data_is_refused(run: Run, layout: Layout, name: str) -> None:
    """A data directory that another program made is left alone."""
    layout.data.mkdir(parents=True)
    (layout.data / name).write_bytes(b"theirs")
    refuse(run, layout, "made by another program")


def test_names_and_addresses_that_do_not_fit_are_refused(run: Run, layout: Layout) -> None:
    """Own name, cluster name and secondary address are checked before anything is made."""
    hosts = layout.root / "etc/hosts"
    hosts.write_text(hosts.read_text() + "192.0.2.1 faraway\n")
    refuse(run, layout, "does not resolve", host="nowhere.invalid")
    refuse(run, layout, "no address of this machine", host="faraway")
    refuse(run, layout, "is not a host name", host="no de")
    refuse(run, layout, "contains", cluster_name="../demo")
    refuse(run, layout, "is the name of this node", cluster_name="node1")
    refuse(run, layout, "no address of this machine", secondary_ip="192.0.2.7")
    refuse(run, layout, "not-an-address", secondary_ip="not-an-address")
    refuse(run, layout, "is not IPv6", primary_ip_version=6)


def test_a_loopback_address_is_refused_on_a_real_machine() -> None:
    """Other nodes could not reach it; only nodes that share a machine may have one."""
    with mock.patch.object(this_node, "resolve", return_value="127.0.1.1"):
        with pytest.raises(Refused, match="which other nodes cannot reach") as refused:
            this_node.own_address(Layout(Path("/")), "node1")
        assert "/etc/hosts" in refused.value.hint
        assert this_node.own_address(Layout(Path("/moved")), "node1") == "127.0.1.1"


def test_a_busy_port_is_refused(run: Run, layout: Layout) -> None:
    """Where another program listens, no node daemon could."""
    with socket.socket() as taken:
        taken.bind((f"{PREFIX}.1", 1811))
        taken.listen()
        refuse(run, layout, f"Port 1811 at {PREFIX}.1 cannot be used")


def test_a_root_that_is_too_long_is_refused(tmp_path: Path, said: list[str]) -> None:
    """A socket's path has a limit of the system; it is named."""
    long = machine(tmp_path / ("x" * 100))
    request = InitRequest(cluster_name="demo", enabled_hypervisors=["fake"])
    with pytest.raises(Refused, match="longer than the 107 bytes"):
        ClusterInit(request, long, "node1", said.append).run()
    assert not long.data.exists()


def test_what_there_is_not_is_refused_by_name(run: Run, layout: Layout) -> None:
    """Unknown hypervisors, templates, parameters, groups of volumes and relative directories."""
    refuse(run, layout, "vmware", enabled_hypervisors=["vmware"])
    refuse(run, layout, "floppy", enabled_disk_templates=["floppy"])
    refuse(run, layout, "nonsense", GntError, beparams={"nonsense": 1})
    refuse(run, layout, "nonsense", GntError, hvparams={"fake": {"nonsense": 1}})
    refuse(run, layout, "is not an absolute path", file_storage_dir="here")
    with mock.patch.object(init, "has_volume_group", return_value=False):
        refuse(run, layout, "no volume group vg7", vg_name="vg7")
        refuse(run, layout, "no volume group xenvg", enabled_disk_templates=["plain"])


def test_what_would_be_made_can_be_asked(run: Run, layout: Layout, daemons: PretendedDaemons) -> None:
    """Where, with what was chosen, and whether an address is raised; nothing is made. Refusals are the same."""
    before = state(layout)
    made = run(plan=True)["plan"]
    assert made[0].startswith(f"{layout.data}: an authority of its own for demo, certificates of node1")
    assert "node1 (" in made[1]
    assert "as master and first node; hypervisors fake; disk templates " in made[1]
    assert made[2] == "start gnt-noded gnt-masterd gnt-rapi"
    assert state(layout) == before
    assert daemons.as_daemons().pid("gnt-masterd") is None
    refuse(run, layout, "vmware", enabled_hypervisors=["vmware"], plan=True)
    run()
    refuse(run, layout, "belongs to a cluster already", plan=True)


def test_what_is_not_carried_out_is_refused_by_name(run: Run, layout: Layout) -> None:
    """Options of later versions are refused, never ignored; their harmless values pass."""
    refuse(run, layout, "modify_etc_hosts is not supported", Unsupported, modify_etc_hosts=True)
    refuse(run, layout, "modify_ssh_setup is not supported", Unsupported, modify_ssh_setup=True)
    refuse(run, layout, "prealloc_wipe_disks is not supported", Unsupported, prealloc_wipe_disks=True)
    refuse(run, layout, "default_iallocator is not supported", Unsupported, default_iallocator="hail")
    refuse(run, layout, "hv_state is not supported", Unsupported, hv_state={"fake": {"mem_total": 1}})
    run(modify_etc_hosts=False, prealloc_wipe_disks=False, default_iallocator="", hv_state={})


def test_defaults_fit_the_machine() -> None:
    """Without QEMU the hypervisor is fake, said aloud; plain volumes only where there is a group for them."""
    said: list[str] = []
    with mock.patch.object(plain_machine, "QEMU", ()):
        assert plain_machine.choose_hypervisor(said.append) == "fake"
    assert "fake" in said[0]
    assert plain_machine.choose_templates(None) == ("sharedfile", "file", "diskless")
    assert plain_machine.choose_templates("xenvg")[-1] == "plain"


class Preparing:
    """Takes note of what is prepared, and whether that ends."""

    def __init__(self, *_where: object) -> None:
        self.prepared: list[str] = []
        self.dismissed = False

    def prepare(self, name: str) -> None:
        """Load it."""
        self.prepared.append(name)

    def dismiss(self) -> None:
        """End it."""
        self.dismissed = True


def test_daemons_that_are_loaded_beside_end_with_a_request_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are loaded before anything is known of the request; nothing of them may stay."""
    made: list[Preparing] = []

    def make(*where: object) -> Preparing:
        made.append(Preparing(*where))
        return made[-1]

    monkeypatch.setattr("gnt.bootstrap.daemons.Daemons", make)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"cluster_name": 5}\n')))
    monkeypatch.setenv("GNT_ROOTDIR", str(tmp_path))
    with pytest.raises(GntError):
        VERBS["init"]()
    assert made[0].prepared == list(ALL)
    assert made[0].dismissed
    assert list(tmp_path.iterdir()) == []
