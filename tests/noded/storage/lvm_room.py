"""A volume group to try LVM with.

On any machine: on loop devices, without device-mapper (`activation = 0` in a private `LVM_SYSTEM_DIR`): volumes exist
in the metadata only. Where `GNT_TEST_VG` names a volume group that can be activated (a user-mode-linux node), that one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REAL_GROUP = "GNT_TEST_VG"
SIZE_MIB = 512


@dataclass(frozen=True)
class LvmRoom:
    """A volume group of 4 MiB extents on two physical volumes, and the environment in which LVM sees it."""

    group: str
    devices: tuple[str, ...]
    environ: dict[str, str]
    activates: bool = False

    def run(self, *argv: str) -> str:
        """Run a command of LVM's as an administrator would; gives what it printed."""
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1", **self.environ}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def tags(self, name: str) -> set[str]:
        """Give the tags of a volume."""
        said = self.run("lvs", "--noheadings", "-o", "lv_tags", f"{self.group}/{name}")
        return {tag for tag in said.strip().split(",") if tag}

    def clear(self) -> None:
        """Remove all volumes."""
        self.run("lvremove", "-f", self.group)


def skip_without_lvm() -> None:
    """Say why LVM cannot be tried here."""
    if os.geteuid() != 0:
        pytest.skip("needs root for loop devices")
    if shutil.which("lvs", path="/usr/sbin:/sbin") is None:
        pytest.skip("needs the package lvm2")


def loop_group(place: Path, group: str, devices: int = 2, *, size: int = SIZE_MIB) -> Iterator[LvmRoom]:
    """Make a volume group on loop devices of `size` MiB below a directory; it goes afterwards."""
    loops: list[str] = []
    try:
        for number in range(devices):
            image = place / f"pv{number}"
            with image.open("wb") as file:
                file.truncate(size << 20)
            made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False)
            if made.returncode != 0:
                pytest.skip(f"this machine has no loop devices to give: {made.stderr.strip()}")
            loops.append(made.stdout.strip())
        system = place / "lvm"
        system.mkdir()
        filters = ", ".join([*(f'"a|^{loop}$|"' for loop in loops), '"r|.*|"'])
        (system / "lvm.conf").write_text(
            f"global {{ activation = 0 }}\ndevices {{ filter = [ {filters} ]\n use_devicesfile = 0 }}\n"
            "backup { backup = 0\n archive = 0 }\n"
        )
        room = LvmRoom(group=group, devices=tuple(loops), environ={"LVM_SYSTEM_DIR": str(system)})
        room.run("vgcreate", "-q", group, *loops)
        yield room
    finally:
        for loop in loops:
            subprocess.run(["losetup", "-d", loop], check=False)


def real_group() -> LvmRoom | None:
    """Give the volume group that this machine can activate, if somebody named one for tests."""
    group = os.environ.get(REAL_GROUP)
    return LvmRoom(group=group, devices=(), environ={}, activates=True) if group else None
