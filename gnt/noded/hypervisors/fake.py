"""The hypervisor `fake`: guests are files, one for each, in one directory of the node. Needs no privileges.

As real as files can be: guests survive the daemon, use up the node's memory, halt when asked to, move to another
node whose directory is on this machine by one rename. Three kinds of files play the guest's own part, for tests:
`hooks/<name>.halt` (the guest halts from inside, when next looked at), `hooks/<name>.deaf` (it does not hear its power
button) and `hooks/<name>.clings` (it does not let go of a device). A guest's file is never read while it is half
written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.wire.calls import DiskDevice, HypervisorFacts
from gnt.wire.guest_calls import Console, GuestFacts, MigrationProgress, MigrationTicket

NAME = "fake"
RUNNING = "running"
PAUSED = "paused"
USER_DOWN = "user_down"


class FakeGuest(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as its file has it. `disks` are paths; `hvparams` those it was started with. Memory in MiB.

    `sizes` are those of the disks that it sees (MiB) by their UUIDs, in the order of `disks`; `nics` its MAC addresses.
    """

    name: str
    uuid: str
    state: str
    memory: int
    vcpus: int
    disks: tuple[str, ...] = ()
    sizes: dict[str, int] = {}
    nics: dict[str, str] = {}
    hvparams: dict[str, Any] = {}
    boots: int = 1

    @property
    def uses_memory(self) -> bool:
        """Say whether the guest is more than a remark that it was halted."""
        return self.state != USER_DOWN


@implementer(IHypervisor)
class FakeHypervisor:
    """Guests as files below `directory`; the node has `memory` MiB and `cpus` processors."""

    name = NAME

    def __init__(self, directory: Path, *, memory: int = 16384, cpus: int = 4) -> None:
        self._directory = directory
        self._memory = memory
        self._cpus = cpus
        self._callbacks: list[Callable[[str], None]] = []

    # What is there

    def list_guests(self) -> list[GuestFacts]:
        """List the guests, sorted by name."""
        return [_facts(guest) for guest in self._guests()]

    def find(self, name: str, uuid: str) -> GuestFacts | None:
        """Find one guest."""
        guest = self._read(name)
        return _facts(guest) if guest is not None and guest.uuid == uuid else None

    def node_facts(self) -> HypervisorFacts:
        """Give the node's memory, less that of the guests."""
        return HypervisorFacts(
            memory_total=self._memory,
            memory_free=self._free(),
            memory_dom0=0,
            cpu_total=self._cpus,
            version=[0],
        )

    # Power

    def start(self, instance: InstanceSpec, disks: Sequence[DiskDevice], paused: bool) -> None:
        """Start a guest; `no_memory` if the node has less than its `maxmem` (then `minmem`) left."""
        present = self._read(instance.name)
        if present is not None and present.uuid != instance.uuid:
            raise _taken(instance.name, present.uuid)
        if present is not None and present.uses_memory:
            if present.state == PAUSED and not paused:
                self._write(msgspec.structs.replace(present, state=RUNNING))
            return
        self._write(self._new_guest(instance, disks, PAUSED if paused else RUNNING))

    def ask_to_halt(self, name: str, uuid: str) -> bool:
        """Halt the guest unless it is deaf."""
        guest = self._read(name)
        if guest is None or guest.uuid != uuid or not guest.uses_memory or not guest.hvparams.get("acpi", True):
            return False
        if not self._hook(name, "deaf").exists():
            self._remove(guest)
        return True

    def pull_plug(self, name: str, uuid: str) -> None:
        """End the guest."""
        guest = self._read(name)
        if guest is not None and guest.uuid == uuid:
            self._remove(guest)

    def reset(self, name: str, uuid: str) -> None:
        """Count one more boot."""
        guest = self._running(name, uuid)
        self._write(msgspec.structs.replace(guest, state=RUNNING, boots=guest.boots + 1))

    def definition(self, name: str, uuid: str) -> str:
        """Give the guest's file."""
        return msgspec.json.encode(self._running(name, uuid)).decode()

    def start_again(self, definition: str, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> None:
        """Write the guest's file again, unless the guest runs."""
        guest = _placed(msgspec.json.decode(definition, type=FakeGuest), instance, disks)
        present = self._read(guest.name)
        if present is not None and present.uuid != guest.uuid:
            raise _taken(guest.name, present.uuid)
        if present is None or not present.uses_memory:
            self._write(msgspec.structs.replace(guest, state=RUNNING, boots=guest.boots + 1))

    # Devices

    def check_plug(self, instance: InstanceSpec, kind: str) -> None:  # noqa: ARG002 - the interface's
        """Accept all that a running guest is to be given."""
        self._running(instance.name, instance.uuid)

    def plug_disk(self, instance: InstanceSpec, disk: DiskSpec, source: DiskDevice) -> None:
        """Add the disk to the guest's file."""
        guest = self._running(instance.name, instance.uuid)
        if disk.uuid not in guest.sizes:
            disks, sizes = (*guest.disks, source.path), {**guest.sizes, disk.uuid: disk.size}
            self._write(msgspec.structs.replace(guest, disks=disks, sizes=sizes))

    def plug_nic(self, instance: InstanceSpec, nic: NicSpec) -> None:
        """Add the interface to the guest's file."""
        guest = self._running(instance.name, instance.uuid)
        if nic.uuid not in guest.nics:
            self._write(msgspec.structs.replace(guest, nics={**guest.nics, nic.uuid: nic.mac}))

    def ask_to_unplug(self, name: str, uuid: str, kind: str, device: str) -> bool:
        """Take it from the guest's file, unless the guest clings to it."""
        guest = self._read(name)
        if guest is None or guest.uuid != uuid or device not in (guest.sizes if kind == "disk" else guest.nics):
            return False
        if not self._hook(name, "clings").exists():
            kept = [place for place, known in enumerate(guest.sizes) if known != device]
            self._write(
                msgspec.structs.replace(
                    guest,
                    disks=tuple(path for place, path in enumerate(guest.disks) if place in kept or kind == "nic"),
                    sizes={known: size for known, size in guest.sizes.items() if known != device},
                    nics={known: mac for known, mac in guest.nics.items() if known != device},
                )
            )
        return True

    def resize_disk(self, name: str, uuid: str, disk: str, size: int) -> None:
        """Write the new size into the guest's file."""
        guest = self._read(name)
        if guest is not None and guest.uuid == uuid and disk in guest.sizes:
            self._write(msgspec.structs.replace(guest, sizes={**guest.sizes, disk: size}))

    def console(self, instance: InstanceSpec, node_name: str) -> Console:  # noqa: ARG002 - the interface's
        """There is none."""
        return Console(instance=instance.name, kind="msg", message="Console not available for fake hypervisor")

    # Checks

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Accept all: the syntax was checked by the master."""

    def verify(self) -> str:
        """Say whether the directory can be written."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"{self._directory} cannot be made: {error.strerror}"
        return "" if os.access(self._directory, os.W_OK) else f"{self._directory} cannot be written"

    # Migration

    def accept(self, instance: InstanceSpec, disks: Sequence[DiskDevice], source: str, address: str) -> MigrationTicket:
        """Leave a note that the guest may come, with its disks here."""
        present = self._read(instance.name)
        if present is not None and (present.uuid != instance.uuid or present.uses_memory):
            raise NodeFailure("exists", f"{instance.name} runs here already, it cannot arrive from {source}")
        self._write_to(self._note(instance.name), self._new_guest(instance, disks, RUNNING))
        return MigrationTicket(hypervisor=NAME, address=address, data={"directory": str(self._directory)})

    def send(self, instance: InstanceSpec, target: str, ticket: MigrationTicket, live: bool) -> None:  # noqa: ARG002
        """Rename the guest's file into the target's directory, or just forget it where that is on another machine."""
        guest = self._running(instance.name, instance.uuid)
        there = Path(str(ticket.data.get("directory", "")))
        if not there.is_absolute():
            raise NodeFailure("migration_failed", f"the ticket of {target} for {instance.name} names no directory")
        if not there.is_dir():
            self._remove(guest)
            return
        if not (there / "incoming" / instance.name).exists():
            raise NodeFailure("migration_failed", f"{target} does not expect {instance.name}")
        self._path(guest.name).rename(there / guest.name)
        self._tell(guest.uuid)

    def abort_send(self, name: str, uuid: str) -> None:
        """Nothing: sending takes no time."""

    def progress(self, name: str, uuid: str) -> MigrationProgress:
        """Say `none`: sending takes no time."""
        del name, uuid
        return MigrationProgress(state="none")

    def cancel_accept(self, instance: InstanceSpec) -> None:
        """Take the note away."""
        self._note(instance.name).unlink(missing_ok=True)

    def finish(self, instance: InstanceSpec, arrived: bool) -> None:
        """At the target take the guest in; from another machine it comes by the note alone."""
        present = self._read(instance.name)
        here = present is not None and present.uuid == instance.uuid
        if not arrived:
            if here:
                raise NodeFailure("migration_failed", f"{instance.name} still runs here")
            return
        note = self._load(self._note(instance.name))
        if note is not None:
            # What it was started with travels with it; the devices are those of this node.
            base = present if here and present is not None else note
            self._write(_placed(base, instance, [DiskDevice(path=path) for path in note.disks]))
            self.cancel_accept(instance)
        elif not here:
            raise NodeFailure("not_running", f"{instance.name} has not arrived here")

    def watch(self, callback: Callable[[str], None]) -> None:
        """Call back at once, in the thread of the one who changes the guest."""
        self._callbacks.append(callback)

    def settle(self) -> None:
        """Nothing is ever under way."""

    # Files

    def _new_guest(self, instance: InstanceSpec, disks: Sequence[DiskDevice], state: str) -> FakeGuest:
        most, least = int(instance.beparams.get("maxmem", 128)), int(instance.beparams.get("minmem", 128))
        free = self._free()
        memory = max(least, min(most, free))
        if memory > free:
            raise NodeFailure(
                "no_memory",
                f"{instance.name} needs {least} MiB of memory, the node has {free} MiB free",
                hint="stop or move other instances, or lower the backend parameter minmem",
                retry=True,
            )
        return FakeGuest(
            name=instance.name,
            uuid=instance.uuid,
            state=state,
            memory=memory,
            vcpus=int(instance.beparams.get("vcpus", 1)),
            disks=tuple(disk.path for disk in disks),
            sizes={disk.uuid: disk.size for disk in instance.disks},
            nics={nic.uuid: nic.mac for nic in instance.nics},
            hvparams=dict(instance.hvparams),
        )

    def _free(self) -> int:
        return self._memory - sum(guest.memory for guest in self._guests() if guest.uses_memory)

    def _guests(self) -> list[FakeGuest]:
        if not self._directory.is_dir():
            return []
        names = sorted(entry.name for entry in os.scandir(self._directory) if entry.is_file())
        guests = (self._read(name) for name in names if not name.startswith("."))
        return [guest for guest in guests if guest is not None]

    def _running(self, name: str, uuid: str) -> FakeGuest:
        guest = self._read(name)
        if guest is None or guest.uuid != uuid or not guest.uses_memory:
            raise NodeFailure("not_running", f"{name} does not run here")
        return guest

    def _read(self, name: str) -> FakeGuest | None:
        guest = self._load(self._path(name))
        if guest is None or not guest.uses_memory or not self._hook(name, "halt").exists():
            return guest
        self._hook(name, "halt").unlink(missing_ok=True)
        halted = msgspec.structs.replace(guest, state=USER_DOWN, memory=0, vcpus=0)
        self._write(halted)
        return halted

    def _load(self, path: Path) -> FakeGuest | None:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(text, type=FakeGuest)
        except msgspec.DecodeError as error:
            raise NodeFailure("hypervisor", f"{path} is not a guest of the fake hypervisor: {error}") from error

    def _write(self, guest: FakeGuest) -> None:
        self._write_to(self._path(guest.name), guest)
        self._tell(guest.uuid)

    def _write_to(self, path: Path, guest: FakeGuest) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(msgspec.json.encode(guest))
        fresh.replace(path)

    def _remove(self, guest: FakeGuest) -> None:
        self._path(guest.name).unlink(missing_ok=True)
        self._tell(guest.uuid)

    def _tell(self, uuid: str) -> None:
        for callback in self._callbacks:
            callback(uuid)

    def _path(self, name: str) -> Path:
        if "/" in name or name.startswith("."):
            raise NodeFailure("parameter", f"an instance cannot be named {name!r}")
        return self._directory / name

    def _note(self, name: str) -> Path:
        return self._path(name).parent / "incoming" / name

    def _hook(self, name: str, kind: str) -> Path:
        return self._directory / "hooks" / f"{name}.{kind}"


def _facts(guest: FakeGuest) -> GuestFacts:
    return GuestFacts(
        name=guest.name,
        uuid=guest.uuid,
        hypervisor=NAME,
        state=guest.state,
        memory=guest.memory,
        vcpus=guest.vcpus,
    )


def _placed(guest: FakeGuest, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> FakeGuest:
    """Give a guest with the paths that its disks have here now; one of which nothing is known keeps its own."""
    here = {disk.uuid: source.path for disk, source in zip(instance.disks, disks, strict=False)}
    there = dict(zip(guest.sizes, guest.disks, strict=False))
    return msgspec.structs.replace(guest, disks=tuple(here.get(uuid, there.get(uuid, "")) for uuid in guest.sizes))


def _taken(name: str, uuid: str) -> NodeFailure:
    return NodeFailure("exists", f"another guest is named {name} here; its UUID is {uuid}")
