"""Images in QEMU's format against the contract, and what only they can get wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet import reactor

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.processes import Processes
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.qcow2 import Images
from tests.noded.places import ThreadPool, place_below
from tests.noded.storage.contract import DataContract, Untouched, read, write
from tests.noded.storage.drive import Driven, on_reactor

UUID = "6a1cd4c5-0f0e-4d3c-8f55-3f3f0e1c7a10"
OTHER = "0e2b8a54-7a54-4c43-8f0b-6a4c5be1d2c3"
MIB = 1 << 20


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Give the cluster's directory for images."""
    if shutil.which("qemu-img") is None:
        pytest.skip("needs the package qemu-utils")
    directory = tmp_path / "srv/ganeti/file-storage"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def template(tmp_path: Path, base: Path) -> Driven:
    """Give the template under test."""
    place = place_below(tmp_path, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
    processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
    return Driven(Images(place, Programs(processes, {})), on_reactor)


def image(base: Path, uuid: str, directory: str = "web1.example.com", **changes: Any) -> DiskSpec:
    """Describe a disk of 3 MiB."""
    disk = DiskSpec(
        index=0,
        uuid=uuid,
        dev_type=DiskTemplate.QCOW2,
        size=3,
        logical_id=("loop", str(base / directory / f"{uuid}.qcow2.disk0")),
        instance_name=directory,
        instance_uuid="i-1",
        params={"backing": ""},
    )
    return msgspec.structs.replace(disk, **changes)


@pytest.fixture
def disk(base: Path) -> DiskSpec:
    """Give a disk."""
    return image(base, UUID)


@pytest.fixture
def other(base: Path) -> DiskSpec:
    """Give another disk, in a directory of its own."""
    return image(base, OTHER, "renamed.example.com")


def path_of(disk: DiskSpec) -> Path:
    """Give where the image is."""
    return Path(str(disk.logical_id[1]))


def make_image(path: Path, size: str, *words: str) -> None:
    """Make an image by hand."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), size], check=True)


def told(path: Path) -> dict[str, Any]:
    """Ask QEMU what an image is."""
    said = subprocess.run(["qemu-img", "info", "--output=json", str(path)], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


@pytest.fixture
def plant() -> Callable[[DiskSpec], Untouched]:
    """Somebody else's image exactly where the disk would be."""

    def planting(disk: DiskSpec) -> Untouched:
        path = path_of(disk)
        path.parent.mkdir(parents=True, exist_ok=True)
        make_image(path, "4M")
        before = path.read_bytes()
        return lambda: path.read_bytes() == before and sorted(path.parent.iterdir()) == [path]

    return planting


class TestImages(DataContract):
    """The contract of every disk template."""


def test_an_image_takes_next_to_nothing(template: Driven, disk: DiskSpec) -> None:
    """A qcow2 image of exactly the size asked for, private, some hundred KiB on disk, however large the disk is."""
    large = msgspec.structs.replace(disk, size=100)
    template.create(large)
    found = told(path_of(large))
    assert (found["format"], found["virtual-size"]) == ("qcow2", 100 * MIB)
    assert path_of(large).stat().st_blocks * 512 < MIB
    assert path_of(large).stat().st_mode & 0o777 == 0o600


def test_on_top_of_an_image(template: Driven, disk: DiskSpec, base: Path) -> None:
    """A disk begins as its backing image, raw or qcow2, which is never written."""
    for number, form in enumerate(("raw", "qcow2")):
        backing = base / f"golden.{form}"
        if form == "raw":
            backing.write_bytes(b"golden" + bytes(MIB - 6))
        else:
            subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(base / "golden.raw"), str(backing)], check=True)
        before = backing.read_bytes()
        top = image(base, f"top-{number}", params={"backing": str(backing)})
        template.create(top)
        assert told(path_of(top))["backing-filename-format"] == form
        assert template.find(top).size == 3
        assert read(template, top, 6) == b"golden"
        write(template, top, b"mine")
        assert read(template, top, 6) == b"mineen"
        assert backing.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "code"),
    [("/etc/shadow", "not_allowed"), ("{base}/none", "not_found"), ("{base}/link", "not_found"), ("x", "not_allowed")],
)
def test_backing_images_that_are_refused(template: Driven, disk: DiskSpec, base: Path, name: str, code: str) -> None:
    """What lies outside, is not there or leads elsewhere: a guest would see all of it. Nothing is made."""
    (base / "link").symlink_to("/etc/shadow")
    wanted = msgspec.structs.replace(disk, params={"backing": name.format(base=base)})
    with pytest.raises(NodeFailure) as caught:
        template.create(wanted)
    assert caught.value.code == code
    assert [path.name for path in base.iterdir()] == ["link"]


def test_a_backing_image_that_is_larger(template: Driven, disk: DiskSpec, base: Path) -> None:
    """The guest would miss its end."""
    make_image(base / "large", "10M")
    with pytest.raises(NodeFailure, match=r"has 3 MiB, the image .* 10"):
        template.create(msgspec.structs.replace(disk, params={"backing": str(base / "large")}))
    assert [path.name for path in base.iterdir()] == ["large"]


def test_a_file_that_is_no_image(template: Driven, disk: DiskSpec) -> None:
    """Damaged, with the right mark: said, and neither overwritten nor opened as a disk of no size."""
    template.create(disk)
    path_of(disk).write_bytes(b"garbage" * 100)
    for work in (template.find, template.create):
        with pytest.raises(NodeFailure) as caught:
            work(disk)
        assert caught.value.code == "storage_error"
    assert template.find_many([disk])[0].problem != ""
    assert path_of(disk).read_bytes() == b"garbage" * 100


def test_a_creation_cut_short_is_finished(template: Driven, disk: DiskSpec) -> None:
    """After a crash between mark, draft and image the repeated call completes the disk."""
    template.create(disk)
    whole = path_of(disk).read_bytes()
    (path_of(disk).parent / f".{path_of(disk).name}.new").write_bytes(whole[:100])
    path_of(disk).write_bytes(b"")
    assert template.find(disk) is None
    template.create(disk)
    assert template.find(disk).size == 3
    template.remove(disk)
    assert not path_of(disk).parent.exists()


def test_while_a_guest_has_it_open(template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
    """Neither growth nor a copied snapshot: `busy`, and nothing is left of the attempt."""
    template.create(disk)
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(path_of(disk))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holding:
        assert holding.stdin is not None
        assert holding.stdout is not None
        holding.stdin.write(b"length\n")
        holding.stdin.flush()
        holding.stdout.read(1)
        try:
            for work in (lambda: template.grow(disk, 5, True), lambda: template.snapshot(disk, other)):
                with pytest.raises(NodeFailure) as caught:
                    work()
                assert caught.value.code == "busy"
        finally:
            holding.stdin.close()
    assert template.find(disk).size == 3
    assert template.find(other) is None
    assert not path_of(other).parent.exists()


def test_a_missing_package_is_named(template: Driven, disk: DiskSpec, base: Path) -> None:
    """One line: what is missing, and which package has it; nothing is left."""
    template.template._programs._env["PATH"] = "/nowhere"
    with pytest.raises(NodeFailure) as caught:
        template.create(disk)
    assert (caught.value.code, caught.value.hint) == ("missing_program", "install the package qemu-utils")
    assert list(base.iterdir()) == []
