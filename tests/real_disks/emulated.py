"""A node in a machine that QEMU emulates: the second way, with an ordinary kernel of Debian's, and slower.

Its root is the host's own too, by 9p. Kernel, initrd and modules are made by `tools/setup.sh disk-kernel`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import ClassVar, Final

from tests.real_disks.machine import Machine

KERNEL: Final = Path(__file__).parents[2] / ".cache/disk-kernel"
QEMU: Final = "qemu-system-x86_64"


class Emulated(Machine):
    """A node whose processor is emulated: nothing of this machine's own is needed for it."""

    device: ClassVar[str] = "/dev/vda"
    modules: ClassVar[Path] = KERNEL / "lib/modules"
    patience: ClassVar[float] = 5.0

    def _command(self, line: int) -> list[str | Path]:
        """Give the command line of QEMU, run in the room."""
        told = " ".join(self._words(line="/dev/hvc0"))
        shared = "security_model=none,multidevs=remap"
        cards = [
            word
            for number, card in enumerate((self.calls_card, self.mirror_card))
            for word in (
                *("-netdev", f"tap,id=net{number},ifname={card},script=no,downscript=no"),
                *("-device", f"virtio-net-pci,netdev=net{number},mac={self._hardware(number)}"),
            )
        ]
        return [
            *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-pidfile", self._pid_file),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(self._memory + 128)),
            *("-kernel", KERNEL / "vmlinuz", "-initrd", KERNEL / "initrd"),
            *("-append", f"console=ttyS0 quiet net.ifnames=0 {told}"),
            *("-serial", "stdio"),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={line}"),
            *("-device", "virtconsole,chardev=agent"),
            *("-drive", f"file={self.disk},if=virtio,format=raw,cache=writeback"),
            *("-virtfs", f"local,path=/,mount_tag=root,readonly=on,{shared}"),
            *("-virtfs", f"local,path={self._base},mount_tag=work,{shared}"),
            *cards,
        ]

    @property
    def _pid_file(self) -> Path:
        return self._base / f"{self.name}.pid"

    def _kill(self) -> None:
        """End the emulator."""
        self._room.run("kill", "-KILL", self._pid_file.read_text().strip())


def why_not_emulated() -> str:
    """Say what this machine lacks for emulated nodes; empty where nothing is missing."""
    if shutil.which(QEMU) is None:
        return f"{QEMU} is missing (Debian's qemu-system-x86)"
    if not os.access(KERNEL / "vmlinuz", os.R_OK):
        return "no kernel for them: tools/setup.sh disk-kernel (70 MB to download)"
    return ""
