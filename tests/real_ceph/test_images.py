"""Disks on a Ceph cluster that really is: the contract, zeros, what is said when the cluster is away or says no."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.processes import Processes
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.rbd import RadosImages
from tests.noded.places import ThreadPool, place_below
from tests.noded.storage.contract import read, write
from tests.noded.storage.drive import Driven, on_reactor
from tests.real_ceph.ceph import POOL, Ceph

pytestmark = pytest.mark.long_disks

ROOT = Path(__file__).parents[2]
UUID = "6a1cd4c5-0f0e-4d3c-8f55-3f3f0e1c7a10"
OTHER = "0e2b8a54-7a54-4c43-8f0b-6a4c5be1d2c3"


def template_of(ceph: Ceph, root: Path, arguments: str = "", **environ: str) -> Driven:
    """Give the template of a node that knows the cluster."""
    place = place_below(root, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
    processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
    programs = Programs(processes, {"CEPH_CONF": str(ceph.conf), "CEPH_ARGS": arguments, **environ})
    return Driven(RadosImages(programs), on_reactor)


def disk_of(uuid: str = UUID, pool: str = POOL, access: str = "userspace", size: int = 4) -> DiskSpec:
    """Describe a disk."""
    return DiskSpec(
        index=0,
        uuid=uuid,
        dev_type=DiskTemplate.RBD,
        size=size,
        logical_id=("rbd", f"{uuid}.rbd.disk0"),
        params={"pool": pool, "access": access},
    )


def refused(work: Any, *args: Any) -> NodeFailure:
    """Give the failure of some work."""
    with pytest.raises(NodeFailure) as caught:
        work(*args)
    assert "\n" not in caught.value.text
    return caught.value


def test_the_contract(ceph: Ceph) -> None:
    """All that the stand-in of the command is tried with, and what is written to images through QEMU."""
    environ = {**os.environ, "GNT_TEST_CEPH_POOL": POOL, "CEPH_CONF": str(ceph.conf)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/noded/storage/test_rbd.py"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert ceph.rbd("ls", POOL) == ""


def test_an_image_is_mapped_where_the_kernel_can(ceph: Ceph, tmp_path: Path) -> None:
    """A device with the data, gone after the release; where the kernel cannot, that is said with the way out."""
    template, disk = template_of(ceph, tmp_path), disk_of(access="kernelspace")
    template.create(disk)
    try:
        if subprocess.run(["modprobe", "-n", "rbd"], capture_output=True, check=False).returncode:
            said = refused(template.assemble, disk, True)
            assert (said.code, "no rbd module" in said.text) == ("unsupported", True)
            assert "rbd:access=userspace" in said.hint
            pytest.skip("the kernel of this machine has no module rbd: nothing can be mapped, and that is said")
        assert template.assemble(disk, True).path.startswith("/dev/rbd")
        write(template, disk, b"mapped")
        template.release(disk)
        template.assemble(disk, True)
        assert read(template, disk, 6) == b"mapped"
        template.release(disk)
    finally:
        template.remove(disk)


def test_what_the_administrator_forgot(ceph: Ceph, tmp_path: Path) -> None:
    """A pool, a key, a configuration, a right: each is named, and no disk counts as gone because of it."""
    template = template_of(ceph, tmp_path)
    template.create(disk_of())
    assert refused(template.create, disk_of(pool="nopool")).text == "Ceph has no pool 'nopool'"
    template.remove(disk_of(pool="nopool"))
    keyless = tmp_path / "keyless.conf"
    keyless.write_text(ceph.conf.read_text().replace("keyring = ", "keyring = /nowhere"))
    for number, (changes, text) in enumerate(
        (
            ({"CEPH_CONF": str(keyless)}, "there is no keyring at /nowhere"),
            ({"CEPH_CONF": "/dev/null"}, "does not know where Ceph's monitors are"),
            ({"arguments": "--id nobody"}, "this node"),
        )
    ):
        root = tmp_path / str(number)
        root.mkdir()
        stranger = template_of(ceph, root, **changes)
        for work, code in (
            (stranger.find, "unreachable"),
            (stranger.remove, "unreachable"),
            (stranger.create, "not_begun"),
        ):
            said = refused(work, disk_of())
            assert said.code == code
            assert text in said.text
    assert template.find(disk_of()).size == 4
    template.remove(disk_of())


def test_a_user_of_our_own(ceph: Ceph, tmp_path: Path) -> None:
    """CEPH_ARGS names it; it works in its pool, is refused in others by one line, and QEMU is told its name."""
    keyring = ceph.root / "client.gnt.keyring"
    rights = ["mon", "profile rbd", "osd", f"profile rbd pool={POOL}"]
    keyring.write_text(ceph.ceph("auth", "get-or-create", "client.gnt", *rights))
    ceph.ceph("osd", "pool", "create", "others", "8", "8")
    template = template_of(ceph, tmp_path, f"--id gnt --keyring {keyring}")
    template.create(disk_of())
    assert template.assemble(disk_of(), True).uri == f"rbd:{POOL}/{UUID}.rbd.disk0:id=gnt:conf={ceph.conf}"
    said = refused(template.create, disk_of(pool="others"))
    assert said.code == "not_allowed"
    assert said.text.startswith("Ceph does not allow this node's user to do that: rbd")
    template.remove(disk_of())


def test_a_cluster_that_is_away(ceph: Ceph, tmp_path: Path) -> None:
    """Monitor and store, or the store alone: one clear line within the patience, also of many disks; then it works."""
    impatient = "--client_mount_timeout=3 --rados_mon_op_timeout=3 --rados_osd_op_timeout=3"
    template = template_of(ceph, tmp_path, impatient)
    template.create(disk_of())
    store = ceph.running.pop("osd")
    store.kill()
    store.wait()
    try:
        begin = time.monotonic()
        said = refused(template.find, disk_of())
        assert (said.code, said.text, said.retry) == ("unreachable", "Ceph does not answer", True)
        ceph.stop()
        states = template.find_many([disk_of(), disk_of(OTHER)])
        assert [state.problem for state in states] == ["Ceph does not answer"] * 2
        assert refused(template.create, disk_of(OTHER)).text == "Ceph does not answer"
        assert refused(template.remove, disk_of()).text == "Ceph does not answer"
        assert time.monotonic() - begin < 60
    finally:
        ceph.stop()
        ceph.start()
    patient = template_of(ceph, tmp_path)
    assert patient.find(disk_of()).size == 4
    patient.remove(disk_of())
