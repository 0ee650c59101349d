"""A daemon's life with libvirt inside the process, for test_embedded: run as a program of its own.

Arguments: root directory, kernel, initrd, and what to do. An embedded libvirt is one to a process, and ends with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.model.objects import HypervisorName
from gnt.model.params import defaults
from gnt.model.params_tables import BACKEND, HYPERVISOR
from gnt.model.specs import InstanceSpec
from gnt.noded.hypervisors.kvm import KvmHypervisor
from tests.noded.hypervisors.attached import answer_of
from tests.noded.hypervisors.libvirt_room import place_of, wait_for


def main(root: str, kernel: str, initrd: str, *deeds: str) -> None:
    """Do the deeds in order and print what came of them as JSON."""
    layout = Layout(Path(root))
    uri = f"qemu:///embed?root={layout.data / 'libvirt-embed'}"
    driver = KvmHypervisor(place_of(layout, "node1"), environ={"GNT_LIBVIRT_URI": uri})
    guest = InstanceSpec(
        name="guest1",
        uuid="6b1b4d6e-3c4c-4f0e-9d55-00000000e001",
        hypervisor=HypervisorName.KVM,
        hvparams={
            **defaults(HYPERVISOR["kvm"]),
            "kernel_path": kernel,
            "initrd_path": initrd,
            "kernel_args": "ro quiet",
        },
        beparams=defaults(BACKEND),
    )
    log = layout.log / "kvm/guest1-console.log"
    said: dict[str, object] = {}
    for deed in deeds:
        if deed == "start":
            driver.start(guest, [], False)
        elif deed == "boot":
            wait_for(lambda: "tick 1" in log.read_text(errors="replace"), "the guest to boot")
        elif deed == "console":
            said["console"] = driver.console(guest, "node1").command
        elif deed == "attach":
            command = driver.console(guest, "node1").command or []
            said["attach"] = answer_of(command, "echo the answer is $((6 * 7))", "the answer is 42")
        elif deed == "halt":
            said["asked"] = driver.ask_to_halt(guest.name, guest.uuid)
            wait_for(lambda: driver.find(guest.name, guest.uuid) is None, "the guest to halt")
        elif deed == "plug":
            driver.pull_plug(guest.name, guest.uuid)
        elif deed == "accept":
            try:
                driver.accept(guest, [], "node2", "192.0.2.1")
            except NodeFailure as failure:
                said["accept"] = failure.code
        said[f"after {deed}"] = [facts.state for facts in driver.list_guests()]
    sys.stdout.write(msgspec.json.encode(said).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
