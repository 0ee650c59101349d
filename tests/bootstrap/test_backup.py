"""Backups: what is in one, what is refused, and what a cluster made of one is."""

from __future__ import annotations

import sqlite3
import stat
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gnt.bootstrap.backup import BackupRequest, backup
from gnt.bootstrap.backup_file import Backup
from gnt.bootstrap.daemons import ALL
from gnt.bootstrap.init import ClusterInit, InitRequest
from gnt.bootstrap.restore import EPOCHS_AHEAD, Restore, RestoreRequest
from gnt.model.epoch import Position
from gnt.model.errors import Failed, Refused
from gnt.model.layout import Layout
from gnt.model.objects import ConfigObject, Instance, Node
from gnt.store.changes import Change, Entry, Put, Space
from gnt.store.configuration import object_changes
from gnt.store.database import Database
from gnt.store.reading import Reader
from gnt.store.schema import VERSION
from gnt.wire import certificates
from gnt.wire.calls import Membership
from tests.bootstrap.world import PREFIX, PretendedDaemons, machine, state

MADE = 1_700_000_000.0
SECOND = "00000000-0000-4000-8000-000000000002"
GUEST = "00000000-0000-4000-8000-000000000003"
RUNNING_JOB = {
    "id": 7,
    "ops": [
        {"input": {"OP_ID": "OP_TEST_DELAY"}, "status": "success", "result": None},
        {"input": {"OP_ID": "OP_TEST_DELAY"}, "status": "running", "result": None, "locks": []},
        {"input": {"OP_ID": "OP_TEST_DELAY"}, "status": "queued", "result": None},
    ],
}


class World:
    """Two machines; the first is the master of a cluster that both belong to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = machine(root / "node1")
        self.daemons = PretendedDaemons(self.layout)
        self.said: list[str] = []
        request = InitRequest(cluster_name="demo", enabled_hypervisors=["fake"])
        ClusterInit(request, self.layout, "node1", self.said.append, daemons=self.daemons.as_daemons()).run()
        guest = Instance(uuid=GUEST, name="web1", primary_node=SECOND, osparams_private={"password": "hunter2"})
        group = next(iter(self.cluster().groups))
        other = Node(uuid=SECOND, name="node2", primary_ip=f"{PREFIX}.2", group=group, master_candidate=True)
        self.change(other, guest, also=[Put(Space.SECRET, "7/0", b"hunter2-job")])

    def change(self, *put: ConfigObject, also: tuple[Change, ...] | list[Change] = ()) -> None:
        """Write to the store as the master daemon would."""
        database = Database.open(self.layout.config_db)
        end = database.end
        _, changes = object_changes(database.load_cluster(), put, [], MADE)
        changes += also
        entry = Entry(Position(epoch=end.epoch, serial=end.serial + 1), MADE, tuple(changes), (0,) * len(changes))
        database.append(end, [entry], committed=end.serial + 1)
        database.close()

    def cluster(self, layout: Layout | None = None) -> Any:
        """Give the configuration of a machine."""
        reader = Reader.open((layout or self.layout).config_db)
        try:
            return reader.load_cluster()
        finally:
            reader.close()

    def backup(self, name: str = "backup", passphrase: str | None = None, host: str = "node1") -> Path:
        """Write one."""
        path = self.root / name
        request = BackupRequest(file=str(path), passphrase=passphrase)
        backup(request, self.layout, host, self.said.append, now=lambda: MADE)
        return path

    def restore(
        self, path: Path, layout: Layout | None = None, host: str = "node1", fails: str = "", **options: Any
    ) -> dict[str, Any]:
        """Restore one."""
        layout = layout or self.layout
        daemons = self.daemons if layout is self.layout else PretendedDaemons(layout)
        daemons.fails = fails
        request = RestoreRequest(file=str(path), **options)
        return Restore(request, layout, host, self.said.append, daemons=daemons.as_daemons(), now=lambda: MADE).run()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give the cluster."""
    return World(tmp_path)


def test_without_a_passphrase_no_secret_is_in_it(world: World) -> None:
    """Neither keys nor certificates nor private parameters, in none of its bytes; only its owner can read it."""
    path = world.backup()
    data = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"hunter2" not in data
    assert b"PRIVATE KEY" not in data
    assert b"CERTIFICATE" not in data
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["manifest.json", "manifest.sha256", "config.db"]
    found = Backup.read(path).manifest
    assert (found.cluster_name, found.node, found.time, found.position.serial) == ("demo", "node1", MADE, 2)
    assert sorted(entry.name for entry in world.root.iterdir()) == ["backup", "node1"]


def test_with_a_passphrase_secrets_are_encrypted(world: World) -> None:
    """Readable for nobody else, and only with that passphrase."""
    path = world.backup(passphrase="correct horse")
    for secret in (b"hunter2", b"PRIVATE KEY", world.layout.authority_key.read_bytes()[40:80]):
        assert secret not in path.read_bytes()
    before = state(world.layout)
    with pytest.raises(Refused, match="passphrase is not that of this backup"):
        world.restore(path, force=True, passphrase="wrong horse")
    assert state(world.layout) == before


def test_a_backup_is_not_written_over_and_only_the_master_makes_one(world: World) -> None:
    """Each refusal names the remedy; nothing is left behind."""
    world.backup()
    with pytest.raises(Refused, match="exists already"):
        world.backup()
    with pytest.raises(Refused, match="node2 is not the master, node1 is"):
        world.backup("other", host="node2")
    assert sorted(entry.name for entry in world.root.iterdir()) == ["backup", "node1"]


def test_going_back_on_the_same_machine(world: World) -> None:
    """The configuration is as it was, certificates stay, the newer store is kept; it begins above all others."""
    path = world.backup(passphrase="correct horse")
    world.change(replace(world.cluster().instances[GUEST], name="web2"))
    pem = world.layout.node_pem.read_bytes()
    result = world.restore(path, force=True, passphrase="correct horse")
    cluster = world.cluster()
    assert cluster.instances[GUEST].name == "web1"
    assert cluster.instances[GUEST].osparams_private == {"password": "hunter2"}
    assert world.layout.node_pem.read_bytes() == pem
    assert [node.name for node in cluster.nodes.values() if node.master_candidate] == ["node1"]
    assert result["offline"] == []
    aside = Database.open(Path(result["aside"]))
    assert aside.load_cluster().instances[GUEST].name == "web2"
    database = Database.open(world.layout.config_db)
    assert database.end.epoch.number == EPOCHS_AHEAD
    assert database.end > aside.end
    assert database.end.serial > aside.end.serial
    assert database.promised == database.end.epoch
    assert database.committed == database.end.serial
    [(_, record)] = database.rows(Space.META, "unsafe/")
    assert msgspec.json.decode(record)["nodes"] == ["node2"]
    membership = msgspec.json.decode(world.layout.membership.read_bytes(), type=Membership)
    assert membership.position == database.end
    assert membership.candidates == dict(cluster.settings.candidate_certs)
    assert world.daemons.running == set(ALL)


def test_again_is_above_again(world: World) -> None:
    """A cluster that was restored can be restored."""
    path = world.backup()
    world.restore(path, force=True)
    first = Database.open(world.layout.config_db).end
    world.layout.config_db.rename(world.layout.config_db.with_suffix(".old"))
    world.restore(path)
    second = Database.open(world.layout.config_db).end
    assert (second.epoch.number, second.serial > first.serial) == (2 * EPOCHS_AHEAD, True)


def test_a_new_machine_with_secrets_is_the_node_it_replaces(world: World) -> None:
    """Same authority, same certificate: other nodes obey it."""
    path = world.backup(passphrase="correct horse")
    fresh = machine(world.root / "fresh")
    result = world.restore(path, fresh, passphrase="correct horse")
    for name in ("authority_key", "authority_certificate", "node_pem", "rapi_pem"):
        assert getattr(fresh, name).read_bytes() == getattr(world.layout, name).read_bytes()
    assert result["offline"] == []
    assert world.cluster(fresh).instances[GUEST].osparams_private == {"password": "hunter2"}


def test_a_new_machine_without_secrets_begins_with_new_certificates(world: World) -> None:
    """Other nodes are offline until they are taken in again; private parameters are gone."""
    fresh = machine(world.root / "fresh")
    result = world.restore(world.backup(), fresh)
    assert result["offline"] == ["node2"]
    assert world.cluster(fresh).instances[GUEST].osparams_private == {}
    authority = fresh.authority_certificate.read_bytes()
    assert authority != world.layout.authority_certificate.read_bytes()
    own = certificates.split_identity(fresh.node_pem.read_bytes(), "server.pem")
    certificates.check_signed(own.certificate, authority)
    assert world.cluster(fresh).settings.candidate_certs == {
        world.cluster(fresh).settings.master_node: certificates.digest(own.certificate)
    }


def test_another_node_may_take_the_cluster_over(world: World) -> None:
    """It becomes the master; its certificate is new, so the others have to be taken in again."""
    path = world.backup(passphrase="correct horse")
    fresh = machine(world.root / "fresh")
    result = world.restore(path, fresh, "node2", passphrase="correct horse")
    assert (world.cluster(fresh).master.name, result["offline"]) == ("node2", ["node1"])
    with pytest.raises(Refused, match="node3 was no node of this cluster"):
        world.restore(path, machine(world.root / "third"), "node3", passphrase="correct horse")


def test_no_job_of_the_backup_goes_on(world: World) -> None:
    """What ran has failed, what waited is canceled, nothing is left to undo or owed."""
    undo = Put(Space.UNDO, "7/1/0", b"{}")
    debt = Put(Space.DEBT, f"{SECOND}/7/0", b"{}")
    job = Put(Space.JOB, "7", msgspec.json.encode(RUNNING_JOB))
    world.change(also=[undo, debt, job, Put(Space.META, "last_job", b"7")])
    world.restore(world.backup(), force=True)
    database = Database.open(world.layout.config_db)
    [row] = database.jobs()
    ended = msgspec.json.decode(row.value)
    assert [op["status"] for op in ended["ops"]] == ["success", "error", "canceled"]
    assert ended["end_timestamp"] == [1_700_000_000, 0]
    assert database.rows(Space.UNDO) == database.rows(Space.DEBT) == []
    assert database.get(Space.META, "last_job") == b"1000"


def test_a_store_that_is_here_needs_force(world: World) -> None:
    """A check says what would be done and changes nothing."""
    path = world.backup()
    before = state(world.layout)
    with pytest.raises(Refused, match="has a store already"):
        world.restore(path)
    found = world.restore(path, check=True)
    assert (found["cluster"], found["exists"], found["secrets"]) == ("demo", True, False)
    assert found["running"] == list(ALL)
    assert state(world.layout) == before


def test_a_failure_brings_back_what_was(world: World) -> None:
    """Store, certificates, daemons."""
    path = world.backup()
    world.change(replace(world.cluster().instances[GUEST], name="web2"))
    before = {name: content for name, content in state(world.layout).items() if "run/" not in name}
    with pytest.raises(Failed):
        world.restore(path, force=True, fails="wait gnt-masterd")
    after = {name: content for name, content in state(world.layout).items() if "run/" not in name}
    assert after == before
    assert world.daemons.running == set(ALL)


def test_the_backup_of_another_cluster_is_refused(world: World, tmp_path: Path) -> None:
    """Force is for another time, not for another cluster."""
    other = World(tmp_path / "other")
    with pytest.raises(Refused, match="belongs to the cluster demo"):
        world.restore(other.backup(), force=True)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_damaged_backup_is_refused(world: World, place: float) -> None:
    """Wherever the damage is."""
    path = world.backup()
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        member = archive.getmember("config.db")
        data[member.offset_data + int(member.size * place)] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refused, match=r"no whole backup of gnt: config.db has another digest"):
        world.restore(path, force=True)


def test_what_is_no_backup_is_refused(world: World) -> None:
    """A cut one, a foreign file, one of a later format, a damaged manifest."""
    path = world.backup()
    data = path.read_bytes()
    cases = [
        (data[: len(data) // 2], "no whole backup"),
        (b"", "no whole backup"),
        (b"SQLite format 3\0" + bytes(4096), "no whole backup"),
        (data.replace(b'"demo"', b'"deno"', 1), "manifest.json has another digest"),
    ]
    for content, text in cases:
        path.write_bytes(content)
        with pytest.raises(Refused, match=text):
            world.restore(path, force=True)
    with pytest.raises(Refused, match="cannot read"):
        world.restore(path.with_name("nothing"))


def test_a_store_of_a_later_version_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is changed, naming the release that can."""
    path = world.backup()
    monkeypatch.setattr("gnt.bootstrap.restore.VERSION", 1)
    with pytest.raises(Refused, match=f"has tables of version {VERSION}, this gnt knows 1"):
        world.restore(path, force=True)


def test_a_backup_while_others_write(world: World) -> None:
    """A transaction that is under way is not in it, and does not hold it up."""
    connection = sqlite3.connect(world.layout.config_db, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE state SET committed = 99")
    path = world.backup()
    connection.execute("ROLLBACK")
    target = world.root / "store"
    Backup.read(path).extract_store(target)
    assert Reader.open(target).state().committed == 2
