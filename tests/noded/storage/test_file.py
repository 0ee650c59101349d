"""File disks against the contract, and what only files can get wrong."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.storage.file import FileDisks
from gnt.noded.storage.marked_tree import mark_name
from tests.noded.places import place_below
from tests.noded.storage.contract import DataContract, Untouched
from tests.noded.storage.drive import Driven

UUID = "6a1cd4c5-0f0e-4d3c-8f55-3f3f0e1c7a10"
OTHER = "0e2b8a54-7a54-4c43-8f0b-6a4c5be1d2c3"


@pytest.fixture(params=["file", "sharedfile"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both templates of files."""
    return str(request.param)


@pytest.fixture
def base(tmp_path: Path, kind: str) -> Path:
    """Give the cluster's directory for the template, as ssconf names it."""
    directory = tmp_path / "disks"
    directory.mkdir()
    layout = Layout(tmp_path)
    layout.data.mkdir(parents=True)
    name = {"file": "file_storage_dir", "sharedfile": "shared_file_storage_dir"}[kind]
    layout.ssconf(name).write_text(f"{directory}\n")
    return directory


@pytest.fixture
def template(tmp_path: Path, base: Path, kind: str) -> Driven:
    """Give the template under test."""
    return Driven(FileDisks(place_below(tmp_path), kind))


@pytest.fixture
def disk(base: Path, kind: str) -> DiskSpec:
    """Give a disk of 3 MiB of the instance web1."""
    return disk_at(base / "web1.example.com" / f"{UUID}.{kind}.disk0", kind)


@pytest.fixture
def other(base: Path, kind: str) -> DiskSpec:
    """Give another disk, in a directory of its own."""
    return disk_at(base / "renamed.example.com" / f"{OTHER}.{kind}.disk0", kind, uuid=OTHER)


def disk_at(path: Path | str, kind: str = "file", uuid: str = UUID) -> DiskSpec:
    """Describe a disk at a path."""
    return DiskSpec(
        index=0,
        uuid=uuid,
        dev_type=DiskTemplate(kind),
        size=3,
        logical_id=("loop", str(path)),
        instance_name="web1.example.com",
        instance_uuid="i-1",
    )


def path_of(disk: DiskSpec) -> Path:
    """Give where the disk's file should be."""
    return Path(str(disk.logical_id[1]))


@pytest.fixture
def plant() -> Callable[[DiskSpec], Untouched]:
    """Somebody else's file exactly where the disk would be."""

    def planting(disk: DiskSpec) -> Untouched:
        path = path_of(disk)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine" * 1048576)
        return lambda: path.read_bytes() == b"mine" * 1048576 and sorted(path.parent.iterdir()) == [path]

    return planting


class TestFileDisks(DataContract):
    """The contract of every disk template, on a file system that shares no data between files."""

    can_snapshot = False


def test_the_file_is_sparse_and_private(template: Driven, disk: DiskSpec) -> None:
    """Exactly size MiB long, next to nothing on disk, readable by nobody else."""
    template.create(disk)
    found = path_of(disk).stat()
    assert found.st_size == 3 * 1024 * 1024
    assert found.st_blocks == 0
    assert found.st_mode & 0o777 == 0o600
    assert path_of(disk).parent.stat().st_mode & 0o777 == 0o750


def test_nothing_remains_of_a_removed_disk(template: Driven, disk: DiskSpec, base: Path) -> None:
    """File, mark and the instance's directory go; the allowed directory stays."""
    template.create(disk)
    template.remove(disk)
    assert list(base.iterdir()) == []


def test_the_directory_stays_while_another_disk_is_in_it(template: Driven, disk: DiskSpec) -> None:
    """Two disks of an instance share its directory."""
    other = msgspec.structs.replace(disk, uuid="other", logical_id=("loop", f"{disk.logical_id[1]}x"))
    template.create(disk)
    template.create(other)
    template.remove(disk)
    assert template.find(other) is not None


def test_the_mark_of_another_disk_is_foreign(template: Driven, disk: DiskSpec) -> None:
    """Two disks that claim one path: the first keeps it, whatever is asked for the second."""
    template.create(disk)
    other = msgspec.structs.replace(disk, uuid="another-uuid")
    with pytest.raises(NodeFailure) as caught:
        template.create(other)
    assert caught.value.code == "exists"
    template.remove(other)
    assert template.find(disk) is not None


def test_a_creation_cut_short_is_finished(template: Driven, disk: DiskSpec) -> None:
    """After a crash between mark, file and size the repeated call completes the disk."""
    path_of(disk).parent.mkdir()
    (path_of(disk).parent / mark_name(path_of(disk).name)).write_text(f"{UUID}\n")
    template.create(disk)
    assert template.find(disk) is not None
    os.truncate(path_of(disk), 0)
    template.create(disk)
    assert path_of(disk).stat().st_size == 3 * 1024 * 1024


def test_a_removal_cut_short_is_finished(template: Driven, disk: DiskSpec, base: Path) -> None:
    """After a crash between file and mark the repeated call removes the mark."""
    template.create(disk)
    path_of(disk).unlink()
    template.remove(disk)
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("call", ["truncate", "mkdir", "fsync", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_behind(
    template: Driven, disk: DiskSpec, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Wherever the space runs out: a definite failure, and the directory as it was."""

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(NodeFailure) as caught:
        template.create(disk)
    monkeypatch.undo()
    assert caught.value.code == "no_space"
    assert list(path_of(disk).parent.parent.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "relative/disk0",
        "{base}/../outside/disk0",
        "{base}/web1.example.com/../../outside",
        "{base}",
        "{base}x/disk0",
        "/etc/disk0",
        "/usr/lib/x/disk0",
        "{base}/a\0b",
    ],
)
def test_paths_outside_are_refused(template: Driven, base: Path, tmp_path: Path, kind: str, path: str) -> None:
    """No call of the template accepts them, nothing is made."""
    bad = disk_at(path.format(base=base), kind)
    for work in (template.create, template.find, template.remove, template.release):
        with pytest.raises(NodeFailure) as caught:
            work(bad)
        assert caught.value.code == "not_allowed"
    assert not (tmp_path / "outside").exists()


def test_a_symbolic_link_to_a_directory_is_not_followed(template: Driven, base: Path, tmp_path: Path) -> None:
    """A link below the allowed directory leads nowhere: neither creation nor removal goes through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "disk0").write_bytes(b"mine")
    (base / "web1.example.com").symlink_to(outside)
    bad = disk_at(base / "web1.example.com" / "disk0")
    for work in (template.create, template.find, template.remove):
        with pytest.raises(NodeFailure) as caught:
            work(bad)
        assert caught.value.code == "not_allowed"
    assert [path.name for path in outside.iterdir()] == ["disk0"]


def test_a_symbolic_link_in_place_of_the_file_is_foreign(template: Driven, disk: DiskSpec, tmp_path: Path) -> None:
    """Even with the right mark beside it, a link is not the disk."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    template.create(disk)
    path_of(disk).unlink()
    path_of(disk).symlink_to(victim)
    with pytest.raises(NodeFailure) as caught:
        template.assemble(disk, True)
    assert caught.value.code == "foreign"
    with pytest.raises(NodeFailure) as caught:
        template.create(disk)
    assert caught.value.code == "exists"
    template.remove(disk)
    assert victim.read_bytes() == b"mine"


def test_a_missing_base_is_named(template: Driven, disk: DiskSpec, base: Path) -> None:
    """A file system that is not mounted is not papered over."""
    base.rmdir()
    with pytest.raises(NodeFailure) as caught:
        template.create(disk)
    assert caught.value.code == "not_found"
    assert str(base) in caught.value.text


@pytest.fixture
def tiny(base: Path) -> Iterator[None]:
    """Mount a file system with room for three names over the cluster's directory."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a file system")
    mounting = ["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=3", "tmpfs", str(base)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield
    subprocess.run(["umount", str(base)], check=True)


@pytest.mark.root
def test_a_file_system_that_is_really_full(template: Driven, disk: DiskSpec, base: Path, tiny: None) -> None:
    """Directory and mark fit, the file does not: all of it is taken back, and the next smaller wish works."""
    with pytest.raises(NodeFailure) as caught:
        template.create(disk)
    assert caught.value.code == "no_space"
    assert list(base.iterdir()) == []
    small = disk_at(base / "disk0")
    template.create(small)
    assert template.find(small) is not None
