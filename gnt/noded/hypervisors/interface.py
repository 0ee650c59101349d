"""What every hypervisor can do for a node.

All methods are short and may block: they run in the runtime's pool `hypervisor` (`send`, which lasts as long as a
migration, in the pool `migration`). What waits (a guest that is asked to halt) is `gnt.noded.guests`. Every method may
be repeated with the same effect. Guests are known by UUID; the name is what people see. Foreign guests of the same
hypervisor are never listed and never touched.

Errors are `NodeFailure`; codes: `not_running`, `exists` (a foreign guest has the name), `no_memory`, `unsupported`
(text names the parameter, hint the remedy), `parameter` (a value that does not fit this node), `no_libvirt`,
`hypervisor` (what the hypervisor itself said), `migration_failed` (the guest runs on here).
"""

# In a zope interface the first argument is the method's own, there is no self.
# ruff: noqa: N805

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.wire.calls import DiskDevice, HypervisorFacts
from gnt.wire.guest_calls import Console, GuestFacts, MigrationProgress, MigrationTicket


class IHypervisor(Interface):
    """The guests of one kind on one node. Memory in MiB."""

    name: str = Attribute("the name under which the configuration knows it, for example `kvm`")

    def list_guests() -> list[GuestFacts]:
        """List our guests, sorted by name; one that is just arriving by migration is not here yet."""

    def find(name: str, uuid: str) -> GuestFacts | None:
        """Find one guest; None if it is down."""

    def start(instance: InstanceSpec, disks: Sequence[DiskDevice], paused: bool) -> None:
        """Start a guest on assembled disks, in the order of `instance.disks`; one that runs is left alone."""

    def ask_to_halt(name: str, uuid: str) -> bool:
        """Press the guest's power button; False if this guest has none, or is down. Does not wait."""

    def pull_plug(name: str, uuid: str) -> None:
        """End the guest at once; also forgets that it was halted from inside."""

    def reset(name: str, uuid: str) -> None:
        """Press the guest's reset button. `not_running` if it is down."""

    def definition(name: str, uuid: str) -> str:
        """Give what `start_again` needs: the parameters with which the guest runs. May hold secrets: keep it in memory.

        `not_running` if it is down.
        """

    def start_again(definition: str, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> None:
        """Start a guest that is down with the parameters it ran with, on its disks as they are called here now."""

    def check_plug(instance: InstanceSpec, kind: str) -> None:
        """Check that the running guest can be given devices of a kind (`disk`, `nic`) and lets them be taken again.

        `unsupported` says why it cannot.
        """

    def plug_disk(instance: InstanceSpec, disk: DiskSpec, source: DiskDevice) -> None:
        """Give the running guest an assembled disk, which it may have already. `not_running`, `unsupported`."""

    def plug_nic(instance: InstanceSpec, nic: NicSpec) -> None:
        """Give the running guest an interface, which it may have already. `not_running`, `unsupported`."""

    def ask_to_unplug(name: str, uuid: str, kind: str, device: str) -> bool:
        """Ask the guest to let go of a disk or interface (its UUID); False if it does not have it. Does not wait."""

    def resize_disk(name: str, uuid: str, disk: str, size: int) -> None:
        """Tell the running guest that its disk (UUID) has `size` MiB; nothing if it is down, or lacks the disk."""

    def console(instance: InstanceSpec, node_name: str) -> Console:
        """Say how to reach the console."""

    def node_facts() -> HypervisorFacts:
        """Give memory and processors of the node."""

    def check(parameters: Mapping[str, Any]) -> None:
        """Check filled parameters on this node: `parameter` or `unsupported`, naming the parameter."""

    def verify() -> str:
        """Say what is wrong with the hypervisor here, empty if nothing; a text beginning with `note: ` is no fault."""

    def accept(instance: InstanceSpec, disks: Sequence[DiskDevice], source: str, address: str) -> MigrationTicket:
        """Get ready to take in a guest from the node `source`; `address` is ours, for the guest's memory."""

    def send(instance: InstanceSpec, target: str, ticket: MigrationTicket, live: bool) -> None:
        """Send a running guest; returns when it runs at the target. Blocks as long as that takes.

        `not_running`; `migration_failed` when it runs on here; `InDoubt` when neither is certain.
        """

    def abort_send(name: str, uuid: str) -> None:
        """End a `send` that is under way; nothing if none is."""

    def progress(name: str, uuid: str) -> MigrationProgress:
        """Say how far a `send` has come."""

    def cancel_accept(instance: InstanceSpec) -> None:
        """Take `accept` back; a guest that runs here is not touched."""

    def finish(instance: InstanceSpec, arrived: bool) -> None:
        """Clean up after a migration: at the target (`arrived`) make it ours, at the source forget it.

        At the target `not_running` if the guest is not there.
        """

    def watch(callback: Callable[[str], None]) -> None:
        """Call back with a guest's UUID whenever its state may have changed; on the reactor's thread, no promise."""

    def settle() -> None:
        """End what an earlier daemon left under way here: migrations that nobody waits for."""
