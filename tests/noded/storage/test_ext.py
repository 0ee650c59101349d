"""External storage providers against the contract: one of loop devices, and some that fail, hang or babble."""

from __future__ import annotations

import os
import shutil
import subprocess
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
from gnt.noded.storage.ext import Attached, ProvidedDisks, read_attached, variables
from gnt.noded.storage.providers import OPTIONAL, REQUIRED
from tests.noded.places import ThreadPool, place_below
from tests.noded.storage.contract import DataContract, refusal
from tests.noded.storage.drive import Driven, on_reactor

UUID = "6a1cd4c5-0f0e-4d3c-8f55-3f3f0e1c7a10"
OTHER = "0e2b8a54-7a54-4c43-8f0b-6a4c5be1d2c3"
# Files of a directory as volumes, loop devices as what they are attached to.
LOOPS = {
    "create": 'set -e; [ "$VOL_SIZE" -lt 100000 ] || { echo "no room" >&2; exit 5; }\n'
    'set -C; : > "$EXTP_DIR/$VOL_NAME"; truncate -s "${VOL_SIZE}M" "$EXTP_DIR/$VOL_NAME"',
    "attach": 'f="$EXTP_DIR/$VOL_NAME"; [ -e "$f" ] || { echo "no $f" >&2; exit 3; }\n'
    'd=$(losetup -n -O NAME -j "$f" | head -1); [ -n "$d" ] || d=$(losetup -f --show "$f") || exit 4; echo "$d"\n'
    'echo "kvm:file:$f"',
    "detach": 'losetup -n -O NAME -j "$EXTP_DIR/$VOL_NAME" | xargs -r losetup -d',
    "remove": 'rm "$EXTP_DIR/$VOL_NAME"',
    "grow": 'set -e; f="$EXTP_DIR/$VOL_NAME"; [ "$VOL_NEW_SIZE" -lt 100000 ]; truncate -s "${VOL_NEW_SIZE}M" "$f"\n'
    'losetup -n -O NAME -j "$f" | xargs -r losetup -c',
    "setinfo": '[ -e "$EXTP_DIR/$VOL_NAME" ] && echo "$VOL_METADATA" > "$EXTP_DIR/.$VOL_NAME.info"',
    "verify": "exit 0",
    "snapshot": 'set -e; set -C; cat "$EXTP_DIR/$VOL_NAME" > "$EXTP_DIR/$VOL_SNAPSHOT_NAME"',
    "open": 'echo "$VOL_OPEN_EXCLUSIVE" >> "$EXTP_DIR/.opened"',
    "close": "exit 0",
}


class ProviderRoom:
    """A node with one provider; `volumes` is where its volumes are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.volumes = root / "volumes"
        self.volumes.mkdir()
        self.directory = root / "srv/ganeti/extstorage/try"
        self.directory.mkdir(parents=True)
        for name in (*REQUIRED, *OPTIONAL):
            self.script(name, LOOPS[name])
        (self.directory / "parameters.list").write_text("dir where volumes are\n")
        place = place_below(root, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
        processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
        self.template = Driven(ProvidedDisks(place, processes, limit=20), on_reactor)

    def script(self, name: str, text: str) -> None:
        """Write one of the scripts."""
        path = self.directory / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def disk(self, uuid: str, **changes: Any) -> DiskSpec:
        """Describe a disk of 4 MiB."""
        disk = DiskSpec(
            index=0,
            uuid=uuid,
            dev_type=DiskTemplate.EXT,
            size=4,
            logical_id=("try", f"{uuid}.ext.disk0"),
            instance_name="web1",
            instance_uuid="i1",
            params={"access": "kernelspace", "dir": str(self.volumes)},
        )
        return msgspec.structs.replace(disk, **changes)

    def detach_all(self) -> None:
        """Take down the loop devices."""
        for volume in self.volumes.iterdir():
            found = subprocess.run(
                ["losetup", "-n", "-O", "NAME", "-j", str(volume)], capture_output=True, text=True, check=False
            )
            for device in found.stdout.split():
                subprocess.run(["losetup", "-d", device], check=False)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[ProviderRoom]:
    """Give the node."""
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("needs root for loop devices")
    found = ProviderRoom(tmp_path)
    yield found
    found.detach_all()


@pytest.fixture
def template(room: ProviderRoom) -> Driven:
    """Give the template under test."""
    return room.template


@pytest.fixture
def disk(room: ProviderRoom) -> DiskSpec:
    """Give a disk."""
    return room.disk(UUID)


@pytest.fixture
def other(room: ProviderRoom) -> DiskSpec:
    """Give another disk."""
    return room.disk(OTHER)


@pytest.fixture
def plant() -> Callable[[DiskSpec], Callable[[], bool]]:
    """Nothing foreign can be in a volume's place: its provider alone knows whose it is."""
    pytest.skip("whose a volume is, its provider knows; names are fresh for each disk")


@pytest.mark.root
class TestProvidedDisks(DataContract):
    """The contract of every disk template."""

    can_rename = False

    def test_growing_beyond_all_room_changes_nothing(self, template: Driven, disk: DiskSpec) -> None:
        """What room a provider has, only its growth says."""
        template.create(disk)
        assert refusal(template.grow, disk, 1 << 40, True) == "script_failed"
        assert template.find(disk).size == disk.size

    @pytest.mark.parametrize("size", [1 << 40, 1 << 62])
    def test_an_exbibyte_is_refused(self, template: Driven, disk: DiskSpec, size: int) -> None:
        """As the provider says it."""
        assert refusal(template.create, msgspec.structs.replace(disk, size=size)) == "script_failed"
        assert template.find(disk) is None


pytestmark = pytest.mark.root


def test_the_environment_is_exact(room: ProviderRoom, disk: DiskSpec) -> None:
    """Not one variable more or less, the provider's directory, no arguments; the log is named and private."""
    room.script("create", "env -0 > env; pwd > pwd; echo $# > count; echo out; echo err >&2")
    room.template.create(msgspec.structs.replace(disk, name="root"))
    told = dict(part.split("=", 1) for part in (room.directory / "env").read_text().split("\0") if part)
    for name in ("PWD", "SHLVL", "_", "OLDPWD", "PATH", "LC_ALL"):
        told.pop(name, None)
    assert told == {
        "VOL_NAME": f"{UUID}.ext.disk0",
        "VOL_UUID": UUID,
        "VOL_CNAME": "root",
        "VOL_SIZE": "4",
        "EXTP_PROVIDER": "try",
        "EXTP_ACCESS": "kernelspace",
        "EXTP_DIR": str(room.volumes),
    }
    assert (room.directory / "pwd").read_text().strip() == str(room.directory)
    assert (room.directory / "count").read_text().strip() == "0"
    (log,) = (room.root / "var/log/ganeti/extstorage").iterdir()
    assert log.name.startswith(f"create-try-{UUID}.ext.disk0-")
    assert log.read_text() == "out\nerr\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_script_that_fails(room: ProviderRoom, disk: DiskSpec) -> None:
    """One line with its exit status and its last twenty lines."""
    room.script("create", "for i in $(seq 30); do echo line $i; done; exit 7")
    with pytest.raises(NodeFailure) as caught:
        room.template.create(disk)
    assert caught.value.code == "script_failed"
    text = caught.value.text
    assert text.startswith("script create of the external storage provider try exited with exit code 7: line 11 |")
    assert text.endswith("| line 30")


def test_a_script_that_hangs(room: ProviderRoom, disk: DiskSpec) -> None:
    """Ended after its time, with all that it started."""
    room.template.template._limit = 0.5
    room.script("create", "echo $$ > pid; sleep 1000 & wait")
    with pytest.raises(NodeFailure) as caught:
        room.template.create(disk)
    assert caught.value.code == "timeout"
    assert not Path(f"/proc/{(room.directory / 'pid').read_text().strip()}").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "neither a device"),
        ("sda", "no path"),
        ("/dev/x\nnonsense", "HYPERVISOR:URI"),
        ("/dev/no-such-device", "/dev/no-such-device, which is not there"),
        ("\nkvm:", "HYPERVISOR:URI"),
    ],
)
def test_an_attach_that_babbles(room: ProviderRoom, disk: DiskSpec, said: str, words: str) -> None:
    """Its answer is quoted, and nothing is taken for a device."""
    room.template.create(disk)
    room.script("attach", f"cat <<'END'\n{said}\nEND")
    for work in (lambda: room.template.assemble(disk, True), lambda: room.template.find(disk)):
        with pytest.raises(NodeFailure, match=words) as caught:
            work()
        assert caught.value.code == "storage_error"


def test_a_volume_that_could_not_be_made_is_not_taken_for_one_that_is_there(room: ProviderRoom, disk: DiskSpec) -> None:
    """Though `attach` prints a path for whatever it is asked: the path is looked at."""
    room.script("create", "echo it is broken; exit 3")
    room.script("attach", "echo /dev/no-such-device")
    with pytest.raises(NodeFailure, match="it is broken"):
        room.template.create(disk)


def test_garbage_is_quoted_so_that_it_can_be_read(room: ProviderRoom, disk: DiskSpec) -> None:
    """No control character reaches a terminal, no book a message: of a script that fails, and of an answer."""
    garbage = r"printf 'a\033[31mb\377\001c\n'"
    room.script("create", f"{garbage}; head -c 9000 /dev/zero | tr '\\0' x; exit 3")
    with pytest.raises(NodeFailure) as caught:
        room.template.create(disk)
    assert "exit code 3: a?[31mb??c | xxx" in caught.value.text
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 2300
    room.script("create", "touch $VOL_NAME")
    room.script("attach", garbage)
    with pytest.raises(NodeFailure, match=r"no path of a device: 'a\?\[31mb\?\?c'$"):
        room.template.assemble(disk, True)


def test_reading_what_attach_says() -> None:
    """A device, a URI for each hypervisor, or URIs alone."""
    assert read_attached("/dev/x\n") == Attached(path="/dev/x", uris={})
    assert read_attached("\nkvm:rbd:a/b\nxen-hvm:x\n") == Attached(path="", uris={"kvm": "rbd:a/b", "xen-hvm": "x"})


def test_uris(room: ProviderRoom, disk: DiskSpec) -> None:
    """Given to the hypervisor where the disk says so, or where there is no device."""
    room.template.create(disk)
    assert room.template.assemble(disk, True).uri is None
    asked = msgspec.structs.replace(disk, params={**disk.params, "access": "userspace"})
    assert room.template.assemble(asked, True).uri == f"file:{room.volumes}/{UUID}.ext.disk0"
    room.script("attach", "echo; echo kvm:rbd:pool/image")
    device = room.template.assemble(disk, True)
    assert (device.path, device.uri) == ("", "rbd:pool/image")
    assert room.template.contents(disk).place == "rbd:pool/image"


def test_exclusive_or_not(room: ProviderRoom, disk: DiskSpec) -> None:
    """The provider hears whether another node may have the volume open too; without the script nothing is run."""
    room.template.create(disk)
    room.template.assemble(disk, True)
    room.template.promote(disk, True)
    assert (room.volumes / ".opened").read_text() == "True\nFalse\n"
    for name in OPTIONAL:
        (room.directory / name).unlink()
    room.template.promote(disk, False)
    room.template.demote(disk)
    assert refusal(room.template.snapshot, disk, room.disk(OTHER)) == "unsupported"


def test_a_provider_that_is_not_there_or_broken(room: ProviderRoom, disk: DiskSpec) -> None:
    """Named, with what is missing."""
    strange = msgspec.structs.replace(disk, logical_id=("none", "v"))
    assert refusal(room.template.create, strange) == "not_found"
    (room.directory / "grow").unlink()
    with pytest.raises(NodeFailure, match=r"'grow' .* is missing"):
        room.template.create(disk)
    assert refusal(room.template.create, msgspec.structs.replace(disk, logical_id=("../x", "v"))) == "not_found"


def test_parameters_that_are_no_variables(disk: DiskSpec) -> None:
    """Refused by name before anything is run."""
    with pytest.raises(NodeFailure, match="'a=b'"):
        variables(msgspec.structs.replace(disk, params={"a=b": "c"}))


def test_the_label(room: ProviderRoom, disk: DiskSpec) -> None:
    """The provider gets the text."""
    room.template.create(disk)
    room.template.label(disk, "originstname+web1")
    assert (room.volumes / f".{UUID}.ext.disk0.info").read_text() == "originstname+web1\n"
