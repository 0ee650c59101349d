"""`drbdsetup` and `drbdmeta` of a simulated machine, and what its kernel shows: in the words of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gnt.daemon.runtime import Pool
from gnt.noded.processes import Finished
from gnt.noded.storage.drbd_kernel import Kernel
from gnt.noded.storage.drbd_log import KernelLog
from gnt.noded.storage.drbd_show import Address, Ends
from gnt.noded.storage.programs import Programs
from gnt.sim.generations import Metadata
from gnt.sim.lvm import MIB
from gnt.sim.mirror_sides import ALONE, CONNECTED, DISKLESS, KernelRefusal, MirrorMachine, Side
from gnt.sim.mirrors import SimMirrors

VERSION: Final = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: SIMULATED\n"
READING: Final = frozenset({"show", "get-gi"})
"""Words of `drbdsetup` that change nothing."""

_WORDS: Final = {
    -1: "Multiple primaries not allowed by config",
    -2: "Need access to UpToDate data",
    -10: "State change was refused by peer node",
    -12: "Device is held open by someone",
    104: "Can not open backing device.",
    119: "No valid meta-data signature found.",
    124: "Device is attached to a disk (use detach first)",
    127: "Device minor not allocated",
    130: "Resize not allowed during resync.",
    131: "Need one Primary node to resize.",
    134: "Sync-pause flag is already set",
    138: "Device does not have a disk-config",
    157: "Sync-pause flag is already cleared.",
    158: "Unknown resource",
    162: "Invalid configuration request\nadditional info from kernel:\nunknown connection",
    165: "Unclean meta-data found.\nYou need to 'drbdadm apply-al res'",
}
_FAILED: Final = 10
_STATE_FAILED: Final = 11
_NO_METADATA: Final = 20
_NO_SUCH_MINOR: Final = 127
_NO_SUCH_RESOURCE: Final = 158
_NO_SUCH_CONNECTION: Final = 162


class MirrorPrograms:
    """The programs for mirrors on one machine."""

    def __init__(self, mirrors: SimMirrors, machine: MirrorMachine) -> None:
        self._mirrors = mirrors
        self._machine = machine

    def setup(self, words: Sequence[str]) -> Finished:
        """Run `drbdsetup`."""
        self._mirrors.settle()
        command: Callable[[Sequence[str]], str | None] = getattr(self, f"_{words[0].replace('-', '_')}")
        try:
            said = command(words[1:])
        except KernelRefusal as refusal:
            kind = "State change failed" if refusal.number < 0 else "Failure"
            text = f"{words[1]}: {kind}: ({refusal.number}) {_WORDS[refusal.number]}\n"
            return Finished(status=_STATE_FAILED if refusal.number < 0 else _FAILED, signal=None, errors=text)
        self._mirrors.settle()
        return Finished(status=0, signal=None, output=said or "")

    def metadata(self, words: Sequence[str]) -> Finished:
        """Run `drbdmeta [--force] DEVICE v08 META flex-external COMMAND`."""
        _, _, meta, _, command = [word for word in words if word != "--force"]
        volume = self._machine.lvm.at(meta)
        if volume is None:
            return _failed(f"open({meta}) failed: No such file or directory")
        if self._mirrors.is_attached(self._machine, volume):
            return _failed("Device is configured!")
        if command == "create-md":
            volume.superblock = Metadata()
            return Finished(status=0, signal=None, output="New drbd meta data block successfully created.\n")
        if not isinstance(volume.superblock, Metadata):
            return _failed("No valid meta data found")
        if command == "apply-al":
            volume.superblock.settle()
            return Finished(status=0, signal=None)
        return Finished(status=0, signal=None, output=f"{volume.superblock.generation(open_here=False)}\n")

    def wipe(self, words: Sequence[str]) -> Finished:
        """Run `dd` over a metadata volume."""
        target = next(word.removeprefix("of=") for word in words if word.startswith("of="))
        volume = self._machine.lvm.at(target)
        if volume is None:
            return Finished(status=1, signal=None, errors=f"dd: failed to open '{target}': No such file or directory\n")
        volume.superblock = None
        return Finished(status=0, signal=None)

    # Looking

    def _show(self, words: Sequence[str]) -> str:
        if not words:
            return "".join(_shown(side) for side in self._machine.sides.values())
        return _shown(self._side(words[0]))

    def _get_gi(self, words: Sequence[str]) -> str:
        side = self._side(words[0])
        return f"{side.known.generation(open_here=side.primary)}\n"

    # Changing

    def _new_resource(self, words: Sequence[str]) -> None:
        self._machine.resources.add(words[0])

    def _new_minor(self, words: Sequence[str]) -> None:
        resource, number = words[0], int(words[1])
        if resource not in self._machine.resources:
            raise KernelRefusal(_NO_SUCH_RESOURCE)
        self._machine.sides.setdefault(number, Side(self._machine, number, resource))
        self._mirrors.renamed(self._machine)

    def _attach(self, words: Sequence[str]) -> None:
        side = self._side(words[0])
        size = _value(words, "--size").removesuffix("m")
        self._set_speed(side, words)
        self._mirrors.attach(side, (words[1], words[2]), int(size or 0))

    def _disk_options(self, words: Sequence[str]) -> None:
        side = self._side(words[0])
        side.known  # noqa: B018  (without volumes it has none)
        self._set_speed(side, words)

    def _detach(self, words: Sequence[str]) -> None:
        self._mirrors.detach(self._side(words[0]))

    def _connect(self, words: Sequence[str]) -> None:
        side = next((one for one in self._machine.sides.values() if one.resource == words[0]), None)
        if side is None:
            raise KernelRefusal(_NO_SUCH_RESOURCE)
        secret = words[words.index("--shared-secret") + 1] if "--shared-secret" in words else ""
        dual = "--allow-two-primaries" in words
        self._mirrors.connect(side, _ends(words[1:3]), dual=dual, secret=secret)

    def _disconnect(self, words: Sequence[str]) -> None:
        wanted = _ends(words)
        side = next((one for one in self._machine.sides.values() if one.ends == wanted), None)
        if side is None:
            raise KernelRefusal(_NO_SUCH_CONNECTION)
        self._mirrors.disconnect(side)

    def _down(self, words: Sequence[str]) -> None:
        if words[0] not in self._machine.resources:
            raise KernelRefusal(_NO_SUCH_RESOURCE)
        for side in [one for one in self._machine.sides.values() if one.resource == words[0]]:
            self._mirrors.down(side)
        self._machine.resources.discard(words[0])

    def _primary(self, words: Sequence[str]) -> None:
        self._mirrors.promote(self._side(words[0]), force="--force" in words)

    def _secondary(self, words: Sequence[str]) -> None:
        self._mirrors.demote(self._side(words[0]))

    def _pause_sync(self, words: Sequence[str]) -> None:
        self._mirrors.pause(self._side(words[0]), True)

    def _resume_sync(self, words: Sequence[str]) -> None:
        self._mirrors.pause(self._side(words[0]), False)

    def _resize(self, words: Sequence[str]) -> None:
        self._mirrors.resize(self._side(words[0]), int(words[words.index("--size") + 1].removesuffix("m")))

    def _side(self, minor: str) -> Side:
        found = self._machine.sides.get(int(minor))
        if found is None:
            raise KernelRefusal(_NO_SUCH_MINOR)
        return found

    def _set_speed(self, side: Side, words: Sequence[str]) -> None:
        rate = next((word.partition("=")[2] for word in words if word.startswith("--resync-rate=")), "")
        if rate:
            side.rate = int(rate) / 1024


class SimKernel(Kernel):
    """What a simulated kernel shows, asked for in the ways of the real one."""

    def __init__(self, pool: Pool, programs: Programs, mirrors: SimMirrors, machine: MirrorMachine) -> None:
        super().__init__(pool, programs, mirrors=machine.devices)
        self._all = mirrors
        self._machine = machine
        self._blocking = pool

    async def is_loaded(self) -> bool:
        """Say yes: every simulated machine has DRBD."""
        return True

    async def helper(self) -> str:
        """Give what clusters want."""
        return "/bin/true"

    async def size(self, minor: int) -> int:
        """Look into the kernel."""
        return await self._blocking.run(self._size, minor)

    def _size(self, minor: int) -> int:
        self._all.settle()
        side = self._machine.sides.get(minor)
        if side is None:
            return 0
        return side.size or (side.peer.size if side.peer is not None else 0)

    def _read_proc(self) -> str:
        self._all.settle()
        return VERSION + "".join(f"{line}\n" for side in self._machine.sides.values() for line in _state(side))

    def _lies_on_now(self, minor: int, paths: Sequence[str]) -> bool:
        side = self._machine.sides.get(minor)
        named = [self._machine.lvm.at(path) for path in paths]
        return side is None or side.data is None or named == [side.data, side.meta]

    async def lies_on(self, minor: int, paths: Sequence[str]) -> bool:
        """Compare the volumes themselves."""
        return await self._blocking.run(self._lies_on_now, minor, paths)

    async def can_read(self, device: str) -> bool:
        """Say whether the volume is there."""
        return self._machine.lvm.at(device) is not None

    async def listen(self) -> KernelLog:
        """Hear what this kernel says."""
        return SimKernelLog(self._machine)


class SimKernelLog(KernelLog):
    """The log of a simulated kernel, from here on."""

    def __init__(self, machine: MirrorMachine) -> None:
        self._machine = machine
        self._from = len(machine.log)

    def close(self) -> None:
        """Hear no more."""

    def _lines(self) -> list[str]:
        lines = self._machine.log[self._from :]
        self._from = len(self._machine.log)
        return lines


# Texts


def _shown(side: Side) -> str:
    net = ""
    here = ""
    if side.ends is not None:
        two = "allow-two-primaries yes; " if side.dual else ""
        net = f"net {{ {two}}} _remote_host {{ address {_written(side.ends[1])}; }} "
        here = f"address {_written(side.ends[0])}; "
    disk = f'disk "{side.paths[0]}"; meta-disk "{side.paths[1]}"; disk {{ }} ' if side.data is not None else ""
    volume = f"volume 0 {{ device minor {side.minor}; {disk}}}"
    return f"resource {side.resource} {{ options {{ }} {net}_this_host {{ {here}{volume} }} }}\n"


def _state(side: Side) -> Iterator[str]:
    """Give the lines of `/proc/drbd` about a side."""
    if side.connection == ALONE and side.disk == DISKLESS and not side.primary:
        yield f" {side.minor}: cs:Unconfigured"
        return
    peer = side.peer
    roles = f"{_role(side)}/{_role(peer) if peer is not None else 'Unknown'}"
    disks = f"{side.disk}/{peer.disk if peer is not None else 'DUnknown'}"
    behind = len(side.known.behind) if side.data is not None else 0
    yield f" {side.minor}: cs:{_connection(side)} ro:{roles} ds:{disks} C r-----"
    yield f"    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:{behind * MIB // 1024}"
    if side.sync is not None:
        done = 100.0 * (side.sync.total - len(side.sync.left)) / max(1, side.sync.total)
        rate = min(side.sync.source.rate, side.sync.target.rate)
        finish = int(len(side.sync.left) / rate) + 1
        yield f"\t[>....................] sync'ed: {done:4.1f}% ({len(side.sync.left)}/{side.sync.total})M"
        clock = f"{finish // 3600}:{finish // 60 % 60:02}:{finish % 60:02}"
        yield f"\tfinish: {clock} speed: {int(rate * 1024):,} ({int(rate * 1024):,}) K/sec"


def _role(side: Side) -> str:
    return "Primary" if side.primary else "Secondary"


def _connection(side: Side) -> str:
    if side.sync is None:
        return CONNECTED if side.peer is not None else side.connection
    end = "Source" if side.sync.source is side else "Target"
    return f"PausedSync{end[0]}" if side.sync.paused else f"Sync{end}"


def _written(address: Address) -> str:
    family, host, port = address
    return f"{family} [{host}]:{port}" if family == "ipv6" else f"{family} {host}:{port}"


def _ends(words: Sequence[str]) -> Ends:
    one, other = (_address(word) for word in words[:2])
    return one, other


def _address(word: str) -> Address:
    family, _, rest = word.partition(":")
    host, _, port = rest.rpartition(":")
    return family, host.strip("[]"), int(port)


def _value(words: Sequence[str], name: str) -> str:
    return words[words.index(name) + 1] if name in words else ""


def _failed(text: str) -> Finished:
    return Finished(status=_NO_METADATA, signal=None, errors=f"{text}\n")
