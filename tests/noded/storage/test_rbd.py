"""RADOS images against the contract: on a stand-in that keeps images as Ceph's `rbd` command shows them.

Where `GNT_TEST_CEPH_POOL` names a pool (and CEPH_CONF its cluster), the same tests run against that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet import reactor

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.processes import Processes
from gnt.noded.storage.programs import Programs, environment
from gnt.noded.storage.rbd import RadosImages, user_of
from tests.noded.places import ThreadPool, place_below
from tests.noded.storage.contract import DataContract, Untouched, refusal
from tests.noded.storage.drive import Driven, on_reactor

UUID = "6a1cd4c5-0f0e-4d3c-8f55-3f3f0e1c7a10"
OTHER = "0e2b8a54-7a54-4c43-8f0b-6a4c5be1d2c3"
POOL = os.environ.get("GNT_TEST_CEPH_POOL", "")
STAND_IN = Path(__file__).with_name("stand_in_rbd.py")


class RbdRoom:
    """A pool, and the `rbd` command to work on it."""

    def __init__(self, root: Path) -> None:
        self.pool = POOL or "rbd"
        self.root = root
        (root / "bin").mkdir()
        self.images = root / "images"
        self.images.mkdir()
        path = os.environ["PATH"]
        if not POOL:
            command = root / "bin/rbd"
            command.write_text(f'#!/bin/sh\nIMAGES={self.images} exec {sys.executable} -I -S {STAND_IN} "$@"\n')
            command.chmod(0o755)
            path = f"{root}/bin:{path}"
        place = place_below(root, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
        processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
        self.programs = Programs(processes, dict(os.environ))
        self.programs._env["PATH"] = path
        self.template = Driven(RadosImages(self.programs), on_reactor)

    def run(self, *words: str) -> str:
        """Run the command as an administrator would."""
        done = subprocess.run(
            ["rbd", *words], env={**os.environ, **self.programs._env}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def disk(self, uuid: str, access: str = "kernelspace", **changes: Any) -> DiskSpec:
        """Describe a disk of 4 MiB."""
        disk = DiskSpec(
            index=0,
            uuid=uuid,
            dev_type=DiskTemplate.RBD,
            size=4,
            logical_id=("rbd", f"{uuid}.rbd.disk0"),
            instance_name="web1",
            instance_uuid="i1",
            params={"pool": self.pool, "access": access},
        )
        return msgspec.structs.replace(disk, **changes)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[RbdRoom]:
    """Give a pool; what the tests made in a real one goes."""
    found = RbdRoom(tmp_path)
    yield found
    if POOL:
        found.programs._env["PATH"] = os.environ["PATH"]
        for name in found.run("ls", found.pool).split():
            found.run("rm", "--no-progress", f"{found.pool}/{name}")


@pytest.fixture
def template(room: RbdRoom) -> Driven:
    """Give the template under test."""
    return room.template


@pytest.fixture
def plant(room: RbdRoom) -> Callable[[DiskSpec], Untouched]:
    """Somebody else's image exactly where the disk would be."""

    def planting(disk: DiskSpec) -> Untouched:
        where = f"{room.pool}/{disk.logical_id[1]}"
        room.run("create", "--size", "7", where)
        room.run("image-meta", "set", where, "mine", "yes")

        def told() -> tuple[str, str]:
            return room.run("info", where), room.run("image-meta", "list", where)

        before = told()
        return lambda: told() == before

    return planting


class TestMapped(DataContract):
    """The contract of every disk template, with images that are mapped; the real kernel may not be able to."""

    @pytest.fixture
    def disk(self, room: RbdRoom) -> DiskSpec:
        """Give a disk."""
        if POOL:
            pytest.skip("mapping needs the kernel's rbd module")
        return room.disk(UUID)

    @pytest.fixture
    def other(self, room: RbdRoom) -> DiskSpec:
        """Give another disk."""
        return room.disk(OTHER)


class TestOpenedByQemu(DataContract):
    """The contract of every disk template, data and all: QEMU opens these images by itself. On a real pool."""

    @pytest.fixture
    def disk(self, room: RbdRoom) -> DiskSpec:
        """Give a disk."""
        if not POOL:
            pytest.skip("set GNT_TEST_CEPH_POOL to a pool of a Ceph cluster")
        return room.disk(UUID, "userspace")

    @pytest.fixture
    def other(self, room: RbdRoom) -> DiskSpec:
        """Give another disk."""
        return room.disk(OTHER, "userspace")


def test_uris(room: RbdRoom) -> None:
    """Pool and image, and the settings of the administrator's cluster; nothing is mapped."""
    disk = room.disk(UUID, "userspace")
    room.template.create(disk)
    room.programs._env.pop("CEPH_CONF", None) if not POOL else None
    device = room.template.assemble(disk, True)
    assert device.path == ""
    assert device.uri is not None
    assert device.uri.startswith(f"rbd:{room.pool}/{UUID}.rbd.disk0")
    assert room.template.find(disk).uri == device.uri == room.template.contents(disk).place
    assert room.run("showmapped", "--format", "json").strip() in {"[]", "{}"}
    if not POOL:
        room.programs._env["CEPH_CONF"] = "/etc/other.conf"
        assert str(room.template.assemble(disk, True).uri).endswith(":conf=/etc/other.conf")


def test_marks(room: RbdRoom) -> None:
    """Whose image it is, and the label for people, stand in its metadata."""
    disk = room.disk(UUID, "userspace")
    room.template.create(disk)
    room.template.label(disk, "originstname+web1")
    where = f"{room.pool}/{UUID}.rbd.disk0"
    found = msgspec.json.decode(room.run("image-meta", "list", where, "--format", "json"))
    assert found == {"gnt.disk": UUID, "gnt.label": "originstname+web1"}


def test_an_image_that_was_never_finished(room: RbdRoom) -> None:
    """After a crash between creation and name the repeated call makes it anew, and a removal leaves nothing."""
    disk = room.disk(UUID, "userspace")
    room.run("create", "--size", "9", f"{room.pool}/{UUID}.rbd.disk0.new")
    room.template.create(disk)
    assert room.run("ls", room.pool).split() == [f"{UUID}.rbd.disk0"]
    room.run("create", "--size", "9", f"{room.pool}/{UUID}.rbd.disk0.new")
    room.template.remove(disk)
    assert room.run("ls", room.pool).split() == []


def test_a_snapshot_leaves_no_trace(room: RbdRoom) -> None:
    """The disk has no snapshots afterwards, so that it can be removed while its copy stays."""
    disk, copy = room.disk(UUID, "userspace"), room.disk(OTHER, "userspace")
    room.template.create(disk)
    room.template.snapshot(disk, copy)
    room.template.remove(disk)
    assert room.template.find(copy).size == 4


@pytest.mark.parametrize(
    ("pool", "name"), [("a b", "x"), ("-p", "x"), ("rbd", "a/b"), ("rbd", "a@b"), ("rbd", ""), ("rbd", "--size")]
)
def test_names_that_are_none(room: RbdRoom, pool: str, name: str) -> None:
    """Refused before any command is run."""
    bad = room.disk(UUID, logical_id=("rbd", name), params={"pool": pool, "access": "userspace"})
    for work in (room.template.create, room.template.find, room.template.remove, room.template.release):
        assert refusal(work, bad) == "wrong_input"


def test_an_image_that_is_mapped_twice(room: RbdRoom) -> None:
    """Neither device is taken."""
    if POOL:
        pytest.skip("mapping needs the kernel's rbd module")
    disk = room.disk(UUID)
    room.template.create(disk)
    for _ in range(2):
        room.run("map", "-p", room.pool, f"{UUID}.rbd.disk0")
    with pytest.raises(NodeFailure, match="mapped more than once"):
        room.template.assemble(disk, True)


def test_a_pool_that_is_not_there(room: RbdRoom) -> None:
    """It is named, with the way to make it; what was in it has gone with it, so a removal has nothing left to do."""
    disk = room.disk(UUID, params={"pool": "nopool", "access": "userspace"})
    for work in (room.template.create, room.template.find):
        with pytest.raises(NodeFailure) as caught:
            work(disk)
        assert (caught.value.code, caught.value.text) == ("not_found", "Ceph has no pool 'nopool'")
        assert "ceph osd pool create nopool" in caught.value.hint
    room.template.remove(disk)
    (state,) = room.template.find_many([disk])
    assert state.problem == "Ceph has no pool 'nopool'"


# What Ceph 16 really said.
_LATE = "2026-11-27T12:20:43.894+0000 7f742b88f380  0 monclient(hunting): authenticate timed out after 7\n"
_TRIED = "2026-11-27T12:20:14.518+0000 7fa7e128f380 -1 auth: unable to find a keyring on "
_DNS = "unable to get monitor info from DNS SRV with service name: ceph-mon\n"
_REFUSED = "2026-11-27T12:18:03.410+0000 7fdca96c36c0 -1 monclient(hunting): handle_auth_bad_method server\n"
_HEADER = "2026-11-27T12:20:22.234+0000 7fe74effd6c0 -1 librbd::image::OpenRequest: failed to stat v2 image header: "
_NOT_IN = "rbd: couldn't connect to the cluster!\n"
_MODULE = """modprobe: FATAL: Module rbd not found in directory /lib/modules/6.18.44
rbd: failed to load rbd kernel module (1)
rbd: failed to get mon address (possible ms_mode mismatch)
rbd: map failed: (2) No such file or directory
"""


@pytest.mark.parametrize(
    ("status", "errors", "code", "text"),
    [
        (110, _LATE + _NOT_IN, "unreachable", "Ceph does not answer"),
        (110, f"{_HEADER}(110) Connection timed out\nrbd: error opening image y: (110) Connection timed out\n",
         "unreachable", "Ceph does not answer"),
        (2, f"{_TRIED}/etc/ceph/k: (2) No such file or directory\n{_NOT_IN}", "unreachable",
         "this node has no key for Ceph: there is no keyring at /etc/ceph/k"),
        (2, _DNS + _NOT_IN, "unreachable", "this node does not know where Ceph's monitors are"),
        (13, _REFUSED + _NOT_IN, "unreachable", "Ceph does not let this node in (its error 13)"),
        (1, f"{_HEADER}(1) Operation not permitted\nrbd: error opening image y: (1) no\n",
         "not_allowed", "Ceph does not allow this node's user to do that: rbd info: error opening image y: (1) no"),
        (2, _MODULE, "unsupported", "the kernel of this node has no rbd module, so images cannot be mapped"),
        (22, "rbd: create error: (22) Invalid argument\n2026-11-27T12:20:17.946+0000 7fc734420380 -1 librbd: size\n",
         "storage_error", "rbd info exited with exit code 22: create error: (22) Invalid argument"),
    ],
)  # fmt: skip
def test_failures_are_no_missing_images(room: RbdRoom, status: int, errors: str, code: str, text: str) -> None:
    """Ceph's status 2 has many causes: only an image that is not there counts as gone, or removed."""
    (room.root / "errors").write_text(errors)
    command = room.root / "bin/rbd"
    command.write_text(f"#!/bin/sh\ncat {room.root}/errors >&2\nexit {status}\n")
    command.chmod(0o755)
    room.programs._env["PATH"] = f"{room.root}/bin:{os.environ['PATH']}"
    disk = room.disk(UUID, "userspace")
    for name in ("find", "promote", "remove", "create"):
        with pytest.raises(NodeFailure) as caught:
            getattr(room.template, name)(disk, *([False] if name == "promote" else []))
        # Then nothing was made that would have to be removed.
        assert caught.value.code == ("not_begun" if (name, code) == ("create", "unreachable") else code)
    with pytest.raises(NodeFailure) as caught:
        room.template.find(disk)
    assert caught.value.text == text


@pytest.mark.parametrize("access", ["kernelspace", "userspace"])
def test_many_are_found_with_one_listing(room: RbdRoom, access: str) -> None:
    """Of the pool, and one of what is mapped; whose each is, it has to say itself. What was left out is asked for."""
    if POOL and access == "kernelspace":
        pytest.skip("this kernel maps no images")
    disks = [room.disk(UUID[:-1] + str(number), access, size=4 + number) for number in range(5)]
    for disk in disks[:4]:
        room.template.create(disk)
    first = room.template.assemble(disks[0], True)
    room.run("snap", "create", f"{room.pool}/{disks[0].logical_id[1]}@mine", "--no-progress")
    room.run("image-meta", "set", f"{room.pool}/{disks[2].logical_id[1]}", "damaged", "yes")
    room.run("image-meta", "set", f"{room.pool}/{disks[3].logical_id[1]}", "gnt.disk", OTHER)
    log = room.root / "asked"
    command = room.root / "bin/rbd"
    command.rename(room.root / "bin/real") if command.exists() else (room.root / "bin/real").symlink_to("/usr/bin/rbd")
    command.write_text(f'#!/bin/sh\necho "$1" >>{log}\nexec {room.root}/bin/real "$@"\n')
    command.chmod(0o755)
    room.programs._env["PATH"] = f"{room.root}/bin:{os.environ['PATH']}"
    states = room.template.find_many(disks)
    assert [state.facts.size if state.facts else None for state in states] == [4, 5, 6, None, None]
    assert states[0].facts is not None
    assert states[0].facts.path == first.path
    asked = sorted(log.read_text().split())
    assert asked.count("ls") == 1
    assert asked.count("showmapped") == (access == "kernelspace")
    assert asked.count("image-meta") == 4
    assert asked.count("info") == (1 if POOL else 2), "what the listing has left out"
    room.run("snap", "rm", f"{room.pool}/{disks[0].logical_id[1]}@mine", "--no-progress")


def test_a_cluster_that_is_away_is_asked_once(room: RbdRoom) -> None:
    """Of many disks each has the problem; the first question's patience is not spent on every one."""
    command = room.root / "bin/rbd"
    command.write_text(f'#!/bin/sh\necho asked >>{room.root}/asked\necho "{_NOT_IN.strip()}" >&2\nexit 110\n')
    command.chmod(0o755)
    room.programs._env["PATH"] = f"{room.root}/bin:{os.environ['PATH']}"
    states = room.template.find_many([room.disk(UUID, "userspace"), room.disk(OTHER, "userspace")])
    assert [state.problem for state in states] == ["Ceph does not answer"] * 2
    assert (room.root / "asked").read_text() == "asked\n"


def test_who_we_are_to_ceph() -> None:
    """Its own variables say so, QEMU is told the same; our patience comes before what the administrator says."""
    given = {"CEPH_CONF": "/etc/other.conf", "CEPH_ARGS": "--id gnt --rados_osd_op_timeout=5"}
    env = environment(given)
    assert env["CEPH_ARGS"].startswith("--client_mount_timeout=")
    assert env["CEPH_ARGS"].endswith(given["CEPH_ARGS"])
    for words in ("--id gnt", "--id=gnt", "-n client.gnt", "--name=client.gnt", "--debug_rbd 0 --user gnt"):
        assert user_of(words) == "gnt"
    assert user_of("--client_mount_timeout=30") == user_of("--id") == ""


def test_a_missing_package_is_named(room: RbdRoom) -> None:
    """One line: what is missing, and which package has it."""
    room.programs._env["PATH"] = "/nowhere"
    with pytest.raises(NodeFailure) as caught:
        room.template.create(room.disk(UUID))
    assert (caught.value.code, caught.value.hint) == ("missing_program", "install the package ceph-common")
    assert caught.value.text == "rbd is not installed on this node"


def test_a_missing_driver_of_qemus_is_named(room: RbdRoom) -> None:
    """Debian has it in a package of its own: zeros and copies of images need it."""
    command = room.root / "bin/qemu-img"
    command.write_text("#!/bin/sh\necho \"qemu-img: Could not open 'rbd:x/y': Unknown protocol 'rbd'\" >&2\nexit 1\n")
    command.chmod(0o755)
    room.programs._env["PATH"] = f"{room.root}/bin:{os.environ['PATH']}"
    with pytest.raises(NodeFailure) as caught:
        on_reactor(room.programs.run(["qemu-img", "info", "rbd:x/y"]))
    assert (caught.value.code, caught.value.hint) == ("missing_program", "install the package qemu-block-extra")
    assert caught.value.text == "qemu-img cannot open RADOS images on this node"
