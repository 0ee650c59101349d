"""LVM of a simulated machine: the commands that the templates `plain` and `thin` run, and the volumes that they make.

What stands here is on the machine's disks: it outlives daemons and power. A command has happened as a whole or not at
all, as LVM promises. What is written to a volume is in a sparse file in the place of its device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from gnt.noded.processes import Finished
from gnt.sim.content import content_of, write_content

MIB: Final = 1 << 20
EXTENT: Final = 4 * MIB
GROUPS: Final[Mapping[str, int]] = {"xenvg": 1 << 20}
"""Volume groups that every simulated machine has, with their MiB."""
POOL: Final = "gnt-thin"
POOL_SIZE: Final = 1 << 16
"""The thin pool that the administrator has made in the first group, and its MiB."""
CHANGING: Final = frozenset({"lvcreate", "lvremove", "lvchange", "lvextend", "lvrename"})
"""Commands that change something."""

_FAILED: Final = 5
_SELECTION: Final = re.compile(r'lv_name="(?P<name>[^"]*)" && lv_tags="(?P<tag>[^"]*)"')


@dataclass(eq=False)
class SimVolume:
    """A volume. Bytes; `kind` is the first letter of its attributes; `superblock` is what a mirror keeps on it."""

    group: str
    name: str
    size: int
    kind: str = "-"
    tags: list[str] = field(default_factory=list)
    origin: str = ""
    pool: str = ""
    superblock: Any = None

    @property
    def key(self) -> str:
        """Give group and name."""
        return f"{self.group}/{self.name}"


class SimLvm:
    """The volumes of a machine below `devices`. `is_open` says whether something uses one."""

    def __init__(
        self,
        devices: Path,
        groups: Mapping[str, int] = GROUPS,
        is_open: Callable[[SimVolume], bool] = lambda _volume: False,
    ) -> None:
        self._devices = devices
        self._groups = dict(groups)
        self._is_open = is_open
        self.volumes: dict[str, SimVolume] = {}
        self._paths: dict[str, Path] = {}
        self.lost: set[str] = set()
        """What has gone with its physical volume: it need not be there."""

    def make_pool(self, group: str, name: str = POOL, size: int = POOL_SIZE) -> None:
        """Have a thin pool of so many MiB, as an administrator makes it."""
        self.volumes[f"{group}/{name}"] = SimVolume(group, name, size * MIB, kind="t")

    def lose(self, owner_tag: str) -> None:
        """Have the volumes with a tag go with a physical volume that breaks."""
        for volume in [one for one in self.volumes.values() if owner_tag in one.tags]:
            del self.volumes[volume.key]
            self.path(volume).unlink()
            self.lost.add(volume.key)

    def path(self, volume: SimVolume) -> Path:
        """Give the file that holds what was written to a volume."""
        key = volume.key
        if key not in self._paths:
            self._paths[key] = self._devices / volume.group / volume.name
        return self._paths[key]

    def at(self, path: str | Path) -> SimVolume | None:
        """Find the volume of a device."""
        key = str(path).removeprefix(f"{self._devices}/")
        return self.volumes.get(key) if key != str(path) else None

    def free(self, group: str) -> int:
        """Give the free bytes of a group; what is in a pool takes no room of its own."""
        used = sum(one.size for one in self.volumes.values() if one.group == group and not one.pool)
        return self._groups[group] * MIB - used

    def run(self, argv: Sequence[str]) -> Finished:
        """Run a command of LVM's; one that is not known here ends as a program that is not installed."""
        command: Callable[[list[str]], Finished] | None = getattr(self, f"_{argv[0]}", None)
        return Finished(status=127, signal=None) if command is None else command(list(argv[1:]))

    # Reports

    def _lvs(self, words: list[str]) -> Finished:
        fields = _option(words, "-o").split(",")
        names = _others(words)
        found, errors = self._named(names) if names else (sorted(self.volumes.values(), key=lambda one: one.key), [])
        return _report("lv", fields, (self._lv_row(one) for one in found), errors)

    def _pvs(self, words: list[str]) -> Finished:
        rows = (
            {
                "pv_name": f"/dev/disk-of-{group}",
                "vg_name": group,
                "pv_size": size * MIB,
                "pv_used": size * MIB - self.free(group),
                "pv_free": self.free(group),
                "pv_attr": "a--",
            }
            for group, size in sorted(self._groups.items())
        )
        return _report("pv", _option(words, "-o").split(","), rows, [])

    def _vgs(self, words: list[str]) -> Finished:
        if "json" in words:
            rows = (
                {"vg_name": group, "vg_size": size * MIB, "vg_free": self.free(group)}
                for group, size in sorted(self._groups.items())
            )
            return _report("vg", _option(words, "-o").split(","), rows, [])
        lines = (
            f"  {group}|{self.free(group) / MIB:.2f}|wz--n-|{size:.2f}" for group, size in sorted(self._groups.items())
        )
        return _said("\n".join(lines))

    def _named(self, names: Iterable[str]) -> tuple[list[SimVolume], list[str]]:
        found: list[SimVolume] = []
        errors: list[str] = []
        for name in names:
            group, slash, _ = name.partition("/")
            if group not in self._groups:
                errors += [f'  Volume group "{group}" not found', f"  Cannot process volume group {group}"]
            elif not slash:
                found += sorted((one for one in self.volumes.values() if one.group == group), key=lambda one: one.key)
            elif name in self.volumes:
                found.append(self.volumes[name])
            else:
                errors.append(f'  Failed to find logical volume "{name}"')
        return found, errors

    def _lv_row(self, volume: SimVolume) -> dict[str, Any]:
        is_origin = any(one.origin == volume.name and one.kind == "s" for one in self.volumes.values())
        first = "o" if is_origin and volume.kind == "-" else volume.kind
        target = {"t": "t", "V": "t", "s": "s"}.get(volume.kind, "-")
        opened = "o" if self._is_open(volume) else "-"
        origin = self.volumes.get(f"{volume.group}/{volume.origin}")
        return {
            "vg_name": volume.group,
            "lv_name": volume.name,
            "lv_size": volume.size,
            "lv_attr": f"{first}wi-a{opened}{target}---",
            "lv_tags": ",".join(volume.tags),
            "lv_active": "active",
            "vg_extent_size": EXTENT,
            "origin": volume.origin,
            "origin_size": origin.size if origin is not None and volume.kind == "s" else "",
            "pool_lv": volume.pool,
            "stripes": 1,
            "devices": f"/dev/disk-of-{volume.group}(0)",
            "data_percent": "0.00" if volume.kind == "t" else "",
        }

    # Changes

    def _lvcreate(self, words: list[str]) -> Finished:
        name, tag = _option(words, "-n"), _option(words, "--addtag")
        size = _whole(_mebibytes(_option(words, "-L") or _option(words, "-V") or "0m"))
        place = next(word for word in _others(words) if not word.startswith("/"))
        group, _, source = place.partition("/")
        if group not in self._groups:
            return _failed(f'Volume group "{group}" not found')
        if f"{group}/{name}" in self.volumes:
            return _failed(f'Logical Volume "{name}" already exists in volume group "{group}"')
        pool, kind = _option(words, "--thinpool"), "-"
        origin = self.volumes.get(place) if source else None
        if source and origin is None:
            return _failed(f'Failed to find logical volume "{place}"')
        if origin is not None:
            kind, pool = ("V", origin.pool) if origin.kind == "V" else ("s", "")
            size = size or origin.size
        elif pool:
            kind = "V"
        if not pool and size > self.free(group):
            extents = f"{size // EXTENT} extents needed, but only {self.free(group) // EXTENT} available"
            return _failed(f'Volume group "{group}" has insufficient free space: {extents}')
        made = SimVolume(group, name, size, kind=kind, tags=[tag] if tag else [], origin=source, pool=pool)
        self.volumes[made.key] = made
        self._fill(made, origin)
        return _said(f'  Logical volume "{name}" created.')

    def _fill(self, made: SimVolume, origin: SimVolume | None) -> None:
        path = self.path(made)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(made.size if origin is None else origin.size)
        if origin is not None:
            write_content(path, content_of(self.path(origin)))

    def _lvremove(self, words: list[str]) -> Finished:
        selection = _SELECTION.fullmatch(_option(words, "-S"))
        (group,) = _others(words)
        if group not in self._groups:
            return _failed(f'Volume group "{group}" not found')
        found = self.volumes.get(f"{group}/{selection['name']}") if selection is not None else None
        if found is None or selection is None or selection["tag"] not in found.tags:
            return _said("")
        if self._is_open(found):
            return _failed(f"Logical volume {found.key} in use.")
        del self.volumes[found.key]
        self.path(found).unlink(missing_ok=True)
        return _said(f'  Logical volume "{found.name}" successfully removed')

    def _lvchange(self, words: list[str]) -> Finished:
        found, errors = self._named(_others(words))
        if errors:
            return _failed(errors[0].strip())
        for volume in found:
            tags = [tag for tag in volume.tags if tag not in _options(words, "--deltag")]
            volume.tags = [*tags, *(tag for tag in _options(words, "--addtag") if tag not in tags)]
        return _said("")

    def _lvextend(self, words: list[str]) -> Finished:
        found, errors = self._named(_others(words))
        if errors:
            return _failed(errors[0].strip())
        (volume,) = found
        amount = _whole(int(_option(words, "-L").strip("+k")) * 1024)
        if not volume.pool and amount > self.free(volume.group):
            extents = f"{amount // EXTENT} extents needed, but only {self.free(volume.group) // EXTENT} available"
            return _failed(f"Insufficient free space: {extents}")
        if "--test" not in words:
            volume.size += amount
            with self.path(volume).open("r+b") as file:
                file.truncate(volume.size)
        return _said("")

    def _lvrename(self, words: list[str]) -> Finished:
        group, old, new = words
        volume = self.volumes.get(f"{group}/{old}")
        if volume is None:
            return _failed(f'Failed to find logical volume "{group}/{old}"')
        if f"{group}/{new}" in self.volumes:
            return _failed(f'Logical Volume "{new}" already exists in volume group "{group}"')
        before = self.path(volume)
        del self.volumes[volume.key]
        volume.name = new
        self.volumes[volume.key] = volume
        before.rename(self.path(volume))
        return _said("")


# Words


def _option(words: Sequence[str], name: str) -> str:
    """Give the value of an option, empty if it is not given."""
    return next(iter(_options(words, name)), "")


def _options(words: Sequence[str], name: str) -> list[str]:
    """Give all values of an option: `-n NAME`, `-nNAME` or `--name NAME`."""
    found: list[str] = []
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            found.append(words[index + 1])
        elif not name.startswith("--") and word.startswith(name) and len(word) > len(name):
            found.append(word[len(name) :])
    return found


_WITH_VALUE: Final = frozenset({"-o", "-S", "-n", "-L", "--units", "--reportformat", "--addtag", "--deltag", "--alloc"})


def _others(words: Sequence[str]) -> list[str]:
    """Give the words that are neither options nor their values."""
    found: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in _WITH_VALUE or word == "--thinpool":
            skip = True
        elif not word.startswith("-"):
            found.append(word)
    return found


def _mebibytes(text: str) -> int:
    return int(text.removesuffix("m")) * MIB


def _whole(size: int) -> int:
    return -(-size // EXTENT) * EXTENT


def _report(kind: str, fields: Sequence[str], rows: Iterable[Mapping[str, Any]], errors: Sequence[str]) -> Finished:
    listed = [{name: str(row[name]) for name in fields} for row in rows]
    text = msgspec.json.encode({"report": [{kind: listed}]}).decode()
    return Finished(status=_FAILED if errors else 0, signal=None, output=text, errors="\n".join(errors))


def _said(text: str) -> Finished:
    return Finished(status=0, signal=None, output=f"{text}\n")


def _failed(text: str) -> Finished:
    return Finished(status=_FAILED, signal=None, errors=f"  {text}\n")
