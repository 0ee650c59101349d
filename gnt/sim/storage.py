"""The storage of a simulated machine: programs that the real disk templates of its node daemon run.

So what runs above is the product's own code, to the last command; what can fall between two commands falls there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gnt.noded.handler import Place
from gnt.noded.processes import Finished, IProcesses
from gnt.noded.storage.diskless import Diskless
from gnt.noded.storage.drbd import MirroredDisks, own_uuid
from gnt.noded.storage.file import FileDisks
from gnt.noded.storage.interface import IDiskTemplate
from gnt.noded.storage.plain import LogicalVolumes
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.qcow2 import Images
from gnt.noded.storage.thin import ThinVolumes
from gnt.sim import images, lvm
from gnt.sim.caches import WriteCache
from gnt.sim.content import content_of
from gnt.sim.lvm import GROUPS, SimLvm, SimVolume
from gnt.sim.mirror_programs import READING, MirrorPrograms, SimKernel
from gnt.sim.mirror_sides import MirrorMachine, Side
from gnt.sim.mirror_writing import spread
from gnt.sim.mirrors import SimMirrors

_REPORTS: Final = frozenset({"lvs", "pvs", "vgs"})
_ITS_OWN: Final = frozenset({*_REPORTS, *lvm.CHANGING, "drbdsetup", "drbdmeta", "dd", "qemu-img"})
_OF_A_PROCESS: Final = re.compile("^/proc/[0-9]+/fd/")


class SimStorage:
    """Volumes, mirrors and images of one machine below `root`. `in_use` gives the devices that something has open."""

    def __init__(
        self,
        name: str,
        address: str,
        root: Path,
        mirrors: SimMirrors,
        *,
        in_use: Callable[[], Iterable[str]] = tuple,
        groups: Mapping[str, int] = GROUPS,
    ) -> None:
        self.devices = root / "dev"
        self._in_use = in_use
        self.lvm = SimLvm(self.devices, groups, self._is_open)
        self.lvm.make_pool(next(iter(groups)), size=min(lvm.POOL_SIZE, next(iter(groups.values())) // 2))
        self.mirrors = mirrors
        self.machine = mirrors.add(MirrorMachine(name, address, self.lvm, self.devices, in_use))
        self._programs = MirrorPrograms(mirrors, self.machine)

    @property
    def cache(self) -> WriteCache:
        """Give what was written here and is not on disk yet."""
        return self.machine.cache

    @property
    def environment(self) -> dict[str, str]:
        """Give the environment in which a node daemon finds the devices."""
        return {"DM_DEV_DIR": str(self.devices)}

    def side_at(self, path: str) -> Side | None:
        """Find the side of the mirror whose device this is."""
        start, found, minor = path.rpartition("/drbd")
        return self.machine.sides.get(int(minor)) if found and start == str(self.devices) and minor.isdigit() else None

    def written(self) -> None:
        """Hear that the node daemon may have written to a device."""
        if self.machine.sides:
            spread(self.machine)

    def lose_volumes(self, tag: str) -> None:
        """Have the volumes with a tag go with the physical volume that they were on."""
        self.lvm.lose(tag)
        self.mirrors.broken(self.machine)

    def lose_power(self) -> None:
        """Forget what was in memory."""
        self.mirrors.power_lost(self.machine)

    def knows(self, argv: Sequence[str]) -> bool:
        """Say whether this is one of the programs for storage."""
        return argv[0] in _ITS_OWN

    def changes(self, argv: Sequence[str]) -> bool:
        """Say whether a program may change something."""
        if argv[0] in {"lvextend", "drbdsetup"}:
            return "--test" not in argv and argv[1] not in READING
        return argv[0] not in _REPORTS and argv[-1] not in READING

    def run(self, argv: Sequence[str], cwd: Path = Path("/")) -> Finished:
        """Have a program take effect, as a whole."""
        words = list(argv[1:])
        if argv[0] == "drbdsetup":
            return self._programs.setup(words)
        if argv[0] == "drbdmeta":
            return self._programs.metadata(words)
        if argv[0] == "dd":
            return self._programs.wipe(words)
        if argv[0] == "qemu-img":
            return self._run_images(words, cwd)
        before = dict(self.lvm.volumes)
        done = self.lvm.run(argv)
        if argv[0] in lvm.CHANGING:
            self.machine.changes += 1
        if argv[0] == "lvrename" and done.ok:
            group, old, new = words
            self.cache.moved(f"{self.devices}/{group}/{old}", f"{self.devices}/{group}/{new}")
        for key in before.keys() - self.lvm.volumes.keys() if argv[0] == "lvremove" else ():
            self.mirrors.removing(self.machine, before[key])
        self.mirrors.renamed(self.machine)
        return done

    def _run_images(self, words: list[str], cwd: Path) -> Finished:
        """Run `qemu-img`, which leaves a copy to the kernel unless it is told to sync it."""
        # An open directory by the process that has it: in a copied world that is another one now, with its own.
        cwd = Path(_OF_A_PROCESS.sub("/proc/self/fd/", str(cwd)))
        target = images.left_in_memory(words, cwd)
        before = content_of(target) if target is not None and target.exists() else {}
        done = images.run(words, cwd)
        if target is not None and done.ok:
            self.cache.wrote(str(target), before, content_of(target))
        return done

    def _is_open(self, volume: SimVolume) -> bool:
        return self.mirrors.is_attached(self.machine, volume) or str(self.lvm.path(volume)) in self._in_use()


def sim_templates(
    place: Place, processes: IProcesses, storage: SimStorage, node_uuid: Callable[[], str] | None = None
) -> dict[str, IDiskTemplate]:
    """Give the disk templates of a simulated node: the real ones. `node_uuid` instead of what its membership says."""
    programs = Programs(processes, storage.environment)
    pool: Any = place.runtime.pools("storage")
    plain = LogicalVolumes(place, programs)
    kernel = SimKernel(pool, programs, storage.mirrors, storage.machine)
    return {
        "diskless": Diskless(),
        "file": FileDisks(place, "file"),
        "sharedfile": FileDisks(place, "sharedfile"),
        "qcow2": Images(place, programs),
        "plain": plain,
        "thin": ThinVolumes(place, programs),
        "drbd": MirroredDisks(place, kernel, plain, node_uuid or own_uuid(place)),
    }
