"""Node calls about guests: what runs, start, stop, console and migration: `spec/node-rpc.md`, section 2.

A guest is named by the UUID of its instance; calls about one guest run in the order of their arrival.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gnt.model.specs import InstanceSpec
from gnt.wire.calls import SLOW, URGENT, NodeCall, OfOneInstance


class GuestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that the hypervisor knows. `state`: running, paused, crashed, user_down (halted from inside)."""

    name: str
    uuid: str
    hypervisor: str
    state: str
    memory: int
    vcpus: int
    cpu_seconds: float = 0.0


class GuestList(NodeCall[list[GuestFacts]], tag="guest_list", frozen=True, kw_only=True):
    """List all guests of the given hypervisors (name → filled parameters)."""

    CHANGES = False
    DEADLINE = URGENT

    hypervisors: dict[str, dict[str, Any]]


class GuestFind(NodeCall[GuestFacts | None], tag="guest_find", frozen=True, kw_only=True):
    """Find one guest."""

    CHANGES = False
    DEADLINE = URGENT

    hypervisor: str
    name: str
    uuid: str


class GuestStart(OfOneInstance, NodeCall[None], tag="guest_start", frozen=True, kw_only=True):
    """Start a guest whose disks are assembled; one that runs already is left alone."""

    instance: InstanceSpec
    paused: bool = False


class GuestStop(NodeCall[None], tag="guest_stop", frozen=True, kw_only=True):
    """Ask the guest to halt, pull the plug after `timeout` seconds (0: at once); one that is down is left alone."""

    hypervisor: str
    name: str
    uuid: str
    timeout: int

    @property
    def lane(self) -> str:
        """One instance, one thing at a time."""
        return self.uuid

    @property
    def deadline(self) -> float:
        """The guest's own time, and a minute to pull the plug."""
        return self.timeout + URGENT


class GuestReboot(OfOneInstance, NodeCall[None], tag="guest_reboot", frozen=True, kw_only=True):
    """Reset a running guest without new device assembly; `hard` pulls the plug and starts it anew."""

    instance: InstanceSpec
    hard: bool
    timeout: int


class DevicePlugCheck(NodeCall[None], tag="device_plug_check", frozen=True, kw_only=True):
    """Check that a running guest takes devices of these kinds (`disk`, `nic`); `unsupported` says why it does not."""

    CHANGES = False
    DEADLINE = URGENT

    instance: InstanceSpec
    kinds: list[str]


class DevicePlug(NodeCall[None], tag="device_plug", frozen=True, kw_only=True):
    """Plug a device of `instance` (`kind` `disk` or `nic`, `device` its UUID) into its running guest.

    A disk is assembled. A guest that has it already keeps it; one that is down has it when it starts.
    """

    instance: InstanceSpec
    kind: str
    device: str

    @property
    def lane(self) -> str:
        """One instance, one thing at a time."""
        return self.instance.uuid


class DeviceUnplug(NodeCall[None], tag="device_unplug", frozen=True, kw_only=True):
    """Take a device from a running guest, and wait until the guest has let go of it; `held` if it does not.

    A guest that is down, or does not have it, has let go already. `shown` is how people know the device: `disk/1`.
    """

    hypervisor: str
    name: str
    uuid: str
    kind: str
    device: str
    shown: str = ""

    @property
    def lane(self) -> str:
        """One instance, one thing at a time."""
        return self.uuid


class DiskResized(NodeCall[None], tag="disk_resized", frozen=True, kw_only=True):
    """Tell a running guest that its disk (UUID) has `size` MiB now; one that is down sees it when it starts.

    `image`: the disk lies in an image that only the guest's own emulator can enlarge while the guest runs, and does.
    """

    hypervisor: str
    name: str
    uuid: str
    disk: str
    size: int
    image: bool = False

    @property
    def lane(self) -> str:
        """One instance, one thing at a time."""
        return self.uuid


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a guest's console: spec/luxi.md, section 6 (`console`). Unused members are None."""

    instance: str
    kind: str
    message: str | None = None
    host: str | None = None
    port: int | None = None
    user: str | None = None
    command: list[str] | None = None
    display: int | None = None


class GuestConsole(NodeCall[Console], tag="guest_console", frozen=True, kw_only=True):
    """Ask how to reach the console. A command in the answer runs on the node itself."""

    CHANGES = False
    DEADLINE = URGENT

    instance: InstanceSpec
    node_name: str


class MigrationTicket(msgspec.Struct, frozen=True, kw_only=True):
    """What the target tells the source: where to send the guest, opaque to the master."""

    hypervisor: str
    address: str
    data: dict[str, Any] = {}


class MigrationAccept(OfOneInstance, NodeCall[MigrationTicket], tag="migration_accept", frozen=True, kw_only=True):
    """Prepare the target of a migration: disks are assembled, the place is ready."""

    instance: InstanceSpec
    source: str
    address: str


class MigrationSend(OfOneInstance, NodeCall[None], tag="migration_send", frozen=True, kw_only=True):
    """Send a running guest to the target; answered when it runs there, or when it still runs here (an error)."""

    DEADLINE = SLOW

    instance: InstanceSpec
    target: str
    ticket: MigrationTicket
    live: bool = True


class MigrationProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a migration has come. `state`: none, active, completed, failed, cancelled. Memory in MiB."""

    state: str
    transferred: int = 0
    total: int = 0


class MigrationStatus(NodeCall[MigrationProgress], tag="migration_status", frozen=True, kw_only=True):
    """Ask the source how far the migration has come."""

    CHANGES = False
    DEADLINE = URGENT

    hypervisor: str
    name: str
    uuid: str


class MigrationCancel(OfOneInstance, NodeCall[None], tag="migration_cancel", frozen=True, kw_only=True):
    """Undo `MigrationAccept` on a target that the guest did not come to; never touches a running guest."""

    instance: InstanceSpec


class MigrationFinish(OfOneInstance, NodeCall[None], tag="migration_finish", frozen=True, kw_only=True):
    """Clean up on the source after a guest has moved, or take in the moved guest on the target.

    Persistent definitions and runtime files: after it, only the target knows the guest. `arrived` is True on the
    target.
    """

    instance: InstanceSpec
    arrived: bool


class HypervisorCheck(NodeCall[None], tag="hypervisor_check", frozen=True, kw_only=True):
    """Check filled hypervisor parameters against this node (files exist, machine type known); failure names it."""

    CHANGES = False

    hypervisor: str
    parameters: dict[str, Any]
