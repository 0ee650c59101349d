"""Asking and telling the kernel about mirrors: `/proc/drbd`, `drbdsetup` and `drbdmeta` of DRBD 8.4.

Each method is one of the commands of spec/storage.md, section 4.3, and says in our words what its failure means.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gnt.daemon.runtime import Pool
from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext
from gnt.noded.processes import Finished
from gnt.noded.storage.drbd_log import LOG, KernelLog
from gnt.noded.storage.drbd_show import Address, Ends, Setup, parse_show
from gnt.noded.storage.drbd_side import META_SIZE, Side, disk_options, net_options, sync_options
from gnt.noded.storage.drbd_status import PROC, KernelStatus, parse_status
from gnt.noded.storage.programs import LARGE, Programs, said

MIB: Final = 1 << 20
SECTOR: Final = 512
STALE: Final = "stale"
# The generation of data that nobody has written yet.
JUST_CREATED: Final = "0000000000000004"

# What the kernel refuses, by the numbers that it gives: (code, words, worth another try).
_REFUSALS: Final[dict[int, tuple[str, str, bool]]] = {
    -1: ("busy", "it is open for writing on its other node", True),
    -2: (STALE, "neither this side nor one that it is connected to has data that is up to date", True),
    -10: ("busy", "its peer needs this side", True),
    -12: ("busy", "something has it open", True),
    130: ("busy", "its sides are coming into step", True),
    131: ("not_open", "it is open for writing on neither of its nodes", False),
}
_REMEDIES: Final = {
    130: "again when they are in step: gnt-instance info shows how far they are",
    131: "gnt-instance activate-disks opens it, or deactivate-disks closes it on both",
}
_ENOUGH: Final = 128 << 10
_NO_SUCH_MINOR: Final = 127
_PAUSED_ALREADY: Final = 134
_RESUMED_ALREADY: Final = 157
_NO_SUCH_RESOURCE: Final = 158
_NO_SUCH_CONNECTION: Final = 162
_NUMBER: Final = re.compile(r"(?:Failure|failed): \((-?\d+)\)")


class Kernel:
    """The mirrors of this machine. `proc` and `sys` are where the kernel shows them, `log` is what it says.

    `mirrors` is the directory of their devices.
    """

    def __init__(
        self,
        pool: Pool,
        programs: Programs,
        *,
        proc: Path = Path(PROC),
        sys: Path = Path("/sys"),
        log: Path = LOG,
        mirrors: Path = Path("/dev"),
    ) -> None:
        self._pool = pool
        self._programs = programs
        self._proc = proc
        self._sys = sys
        self._log = log
        self._mirrors = mirrors
        self.devices = programs.devices

    def device(self, side: Side) -> str:
        """Give the device of a mirror."""
        return str(self._mirrors / side.name)

    # Looking

    async def status(self) -> KernelStatus:
        """Read what the kernel says of all minors; raises `storage_error` where DRBD is not loaded."""
        return parse_status(await self._pool.run(self._read_proc))

    def _read_proc(self) -> str:
        try:
            return self._proc.read_text()
        except FileNotFoundError:
            raise NodeFailure(
                "storage_error",
                "DRBD is not loaded on this node: check if the module is loaded",
                hint="modprobe drbd usermode_helper=/bin/true",
            ) from None
        except OSError as error:
            raise NodeFailure("storage_error", f"{self._proc}: {error.strerror}") from error

    async def is_loaded(self) -> bool:
        """Say whether there is anything to ask."""
        return await self._pool.run(self._proc.exists)

    async def helper(self) -> str:
        """Give the program that the kernel calls when something happens; empty where DRBD is not loaded."""
        return await self._pool.run(self._read_line, self._sys / "module/drbd/parameters/usermode_helper")

    async def setup(self, minor: int, context: CallContext | None = None) -> Setup | None:
        """Say how a minor is set up; None if it is not."""
        done = await self._programs.try_run(["drbdsetup", "show", str(minor)], context)
        if not done.ok:
            if _number(done) == _NO_SUCH_MINOR:
                return None
            raise failure_of(f"drbd{minor}", "cannot be asked", done)
        return next((found for found in parse_show(done.output) if found.minor == minor), None)

    async def setups(self, context: CallContext | None = None) -> dict[int, Setup]:
        """Say how all minors are set up."""
        done = await self._programs.run(["drbdsetup", "show"], context, keep=LARGE)
        return {found.minor: found for found in parse_show(done.output)}

    async def size(self, minor: int) -> int:
        """Give the size of a mirror in MiB; 0 where it is not known (yet)."""
        sectors = await self._pool.run(self._read_line, self._sys / f"block/drbd{minor}/size")
        return int(sectors or 0) * SECTOR // MIB

    async def lies_on(self, minor: int, paths: Sequence[str]) -> bool:
        """Say whether what is attached is what the paths name now: volumes may have been renamed since.

        A kernel that does not show what a mirror lies on is believed.
        """
        return await self._pool.run(self._lies_on, self._sys / f"block/drbd{minor}/slaves", paths)

    def _lies_on(self, slaves: Path, paths: Sequence[str]) -> bool:
        try:
            attached = {(slave / "dev").read_text().strip() for slave in slaves.iterdir()}
            named = {_device_number(path) for path in paths}
        except OSError:
            return not slaves.is_dir()
        return not attached or attached == named

    async def generation(self, minor: int, context: CallContext | None = None) -> str:
        """Give the generation of the data on an attached side: 16 hexadecimal digits."""
        done = await self._programs.run(["drbdsetup", "get-gi", str(minor)], context)
        return done.output.strip().partition(":")[0]

    def _read_line(self, path: Path) -> str:
        try:
            return path.read_text().partition("\n")[0].strip()
        except OSError:
            return ""

    async def listen(self) -> KernelLog:
        """Hear what the kernel says from now on; to be closed."""
        return await self._pool.run(KernelLog, self._log)

    async def reason(self, log: KernelLog, side: Side) -> str:
        """Give why the kernel refused a mirror's peer; empty if it has not said it."""
        return await self._pool.run(log.reason, side.name, side.resource)

    async def can_read(self, device: str) -> bool:
        """Say whether a volume gives back what is on it: the first 128 KiB will do."""
        return await self._pool.run(_can_read, device)

    # Metadata

    async def has_metadata(self, side: Side, meta: str, context: CallContext | None = None) -> bool:
        """Say whether a volume that nothing uses bears metadata of a mirror."""
        done = await self._programs.try_run(
            ["drbdmeta", self.device(side), "v08", meta, "flex-external", "get-gi"], context
        )
        return done.ok and re.fullmatch(r"[0-9A-F]{16}:.*", done.output.strip()) is not None

    async def make_metadata(self, side: Side, meta: str, context: CallContext | None = None) -> None:
        """Wipe a volume, and make metadata of data that nobody has written."""
        wipe = ["dd", "if=/dev/zero", f"of={meta}", "bs=1048576", f"count={META_SIZE}", "oflag=direct"]
        await self._programs.run(wipe, context)
        make = ["drbdmeta", "--force", self.device(side), "v08", meta, "flex-external", "create-md"]
        await self._programs.run(make, context)

    # Setting up

    async def make_minor(self, side: Side, context: CallContext | None = None) -> None:
        """Have the kernel know the minor; one that it knows stays as it is."""
        await self._do(side, "cannot be set up", ["new-resource", side.resource], context)
        await self._do(side, "cannot be set up", ["new-minor", side.resource, str(side.minor), "0"], context)

    async def attach(self, side: Side, data: str, meta: str, context: CallContext | None = None) -> None:
        """Give a mirror its volumes, after what a crash left in its activity log is settled."""
        settle = ["drbdmeta", self.device(side), "v08", meta, "flex-external", "apply-al"]
        done = await self._programs.try_run(settle, context)
        if not done.ok:
            raise NodeFailure("storage_error", f"{side.name}: drbdmeta apply-al {done.how}: {said(done)}")
        size = ["--size", f"{side.size}m"] if side.size else []
        options = [*disk_options(side.disk.params), *size, *sync_options(side.disk.params)]
        words = ["attach", str(side.minor), data, meta, "flexible", *options]
        await self._do(side, "does not take its volumes", words, context)

    async def set_speed(self, side: Side, context: CallContext | None = None) -> None:
        """Say how fast the sides come into step."""
        words = ["disk-options", str(side.minor), *sync_options(side.disk.params)]
        await self._do(side, "does not take its speed", words, context)

    async def detach(self, side: Side, context: CallContext | None = None) -> None:
        """Take the volumes away."""
        await self._do(side, "does not let its volumes go", ["detach", str(side.minor)], context)

    async def connect(self, side: Side, ends: Ends, *, dual: bool, context: CallContext | None = None) -> None:
        """Have a mirror seek its peer; does not wait for it."""
        words = ["connect", side.resource, *map(_address, ends), *net_options(side, dual=dual)]
        await self._do(side, "cannot be connected", words, context)

    async def disconnect(self, side: Side, ends: Ends, context: CallContext | None = None) -> None:
        """Have a mirror let its peer go; one that has none stays as it is."""
        words = ["disconnect", *map(_address, ends)]
        await self._do(side, "cannot be disconnected", words, context, fine={_NO_SUCH_CONNECTION})

    async def down(self, side: Side, resource: str, context: CallContext | None = None) -> None:
        """Have the kernel forget a mirror; its volumes stay."""
        await self._do(side, "cannot be taken down", ["down", resource], context, fine={_NO_SUCH_RESOURCE})

    # Using

    async def primary(self, side: Side, *, force: bool = False, context: CallContext | None = None) -> None:
        """Open a mirror for writing; `force`: although nobody has data yet."""
        words = ["primary", str(side.minor), *(["--force"] if force else [])]
        await self._do(side, "cannot be opened for writing", words, context)

    async def secondary(self, side: Side, context: CallContext | None = None) -> None:
        """Close a mirror for writing."""
        words = ["secondary", str(side.minor)]
        await self._do(side, "cannot be closed", words, context, fine={_NO_SUCH_MINOR})

    async def pause(self, side: Side, pause: bool, context: CallContext | None = None) -> None:
        """Pause the resync, or let it go on."""
        word, fine = ("pause-sync", _PAUSED_ALREADY) if pause else ("resume-sync", _RESUMED_ALREADY)
        what = f"does not {word.partition('-')[0]} its sync"
        await self._do(side, what, [word, str(side.minor)], context, fine={fine})

    async def resize(self, side: Side, size: int, context: CallContext | None = None) -> None:
        """Make a mirror as large as `size` MiB, where both its sides have the room."""
        await self._do(side, "does not grow", ["resize", str(side.minor), "--size", f"{size}m"], context)

    async def _do(
        self,
        side: Side,
        what: str,
        words: Sequence[str],
        context: CallContext | None,
        *,
        fine: set[int] | None = None,
    ) -> None:
        done = await self._programs.try_run(["drbdsetup", *words], context)
        if not done.ok and _number(done) not in (fine or ()):
            raise failure_of(side.name, what, done)


def failure_of(name: str, what: str, done: Finished) -> NodeFailure:
    """Say what a refusal of the kernel means."""
    number = _number(done)
    if number in _REFUSALS:
        code, words, retry = _REFUSALS[number]
        return NodeFailure(code, f"{name} {what}: {words}", hint=_REMEDIES.get(number, ""), retry=retry)
    return NodeFailure("storage_error", f"{name} {what}: drbdsetup {done.how}: {_first(done)}")


def _number(done: Finished) -> int | None:
    """Give the number of what the kernel says, as drbdsetup passes it on."""
    found = _NUMBER.search(done.errors) or _NUMBER.search(done.output)
    return int(found[1]) if found else None


def _first(done: Finished) -> str:
    """Give the first line of what a program said: drbdsetup explains itself in the lines after it."""
    lines = [line.strip() for line in (done.errors or done.output).splitlines() if line.strip()]
    return lines[0] if lines else "it said nothing"


def _address(address: Address) -> str:
    family, host, port = address
    return f"{family}:[{host}]:{port}" if family == "ipv6" else f"{family}:{host}:{port}"


def _can_read(device: str) -> bool:
    try:
        with open(device, "rb", buffering=0) as opened:  # noqa: PTH123 - a device is no file
            return len(opened.read(_ENOUGH)) > 0
    except OSError:
        return False


def _device_number(path: str) -> str:
    number = os.stat(path).st_rdev  # noqa: PTH116 - a device is no file
    return f"{os.major(number)}:{os.minor(number)}"
