"""Disks and network interfaces as options describe them: `spec/cli.md`, sections 5.3 and 5.4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gnt.cli.call import Call
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.units import check_disk_size

Described = Sequence[tuple[str, dict[str, Any]]]
"""What was given: `("0", {"size": "1g"})` for `--disk 0:size=1g`."""

MAX_DISKS: Final = 16
MAX_NICS: Final = 8
_DISK_KEYS: Final = frozenset({"size", "mode", "adopt", "vg", "metavg", "provider", "name", "spindles", "access"})
_NIC_KEYS: Final = frozenset({"mac", "ip", "bridge", "mode", "link", "network", "name", "vlan"})


def disks_of(call: Call) -> list[dict[str, Any]]:
    """Give the disks of a new instance. Raises `Refused` naming the option or the disk."""
    described: Described | None = call.option("disk")
    simple = call.option("os_size")
    if call.option("disk_template") == "diskless":
        if described or simple is not None:
            raise Refused(WRONG_INPUT, "a diskless instance has no disks", hint="leave --disk and -s out")
        return []
    if described and simple is not None:
        raise Refused(WRONG_INPUT, "--disk and -s both describe disks", hint="give one of them")
    if simple is not None:
        return [{"size": check_disk_size(simple, "-s")}]
    if not described:
        if call.option("disk_template") is None:
            return []
        raise Refused(WRONG_INPUT, "no disk is described", hint="--disk 0:size=SIZE, or -s SIZE")
    disks = _by_index(described, "--disk", MAX_DISKS)
    return [_disk(index, disk) for index, disk in enumerate(disks)]


def _disk(index: int, given: dict[str, Any]) -> dict[str, Any]:
    where = f"--disk {index}"
    if "adopt" in given:
        if "size" in given:
            raise Refused(WRONG_INPUT, f"{where}: size and adopt exclude each other")
    elif "size" not in given:
        if "provider" not in given:
            _refuse_unknown(where, given, _DISK_KEYS)
        # A provider may have any parameters; one that looks like the size most likely is not its own.
        meant = [key for key in given if key not in _DISK_KEYS and _nearest(key, frozenset({"size"}))]
        hint = f"--disk {index}:size=SIZE" + (f"; is {meant[0][:40]} meant to be it?" if meant else "")
        raise Refused(WRONG_INPUT, f"{where}: no size is given", hint=hint)
    return disk_values(where, given)


def disk_values(where: str, given: dict[str, Any]) -> dict[str, Any]:
    """Give the values of a disk as an opcode has them. Raises `Refused` naming the option (`where`) and the key."""
    disk = dict(given)
    if "provider" not in disk:
        _refuse_unknown(where, disk, _DISK_KEYS)
    if "size" in disk:
        disk["size"] = check_disk_size(_text(where, "size", disk["size"]), f"{where}: size")
    if disk.get("mode", "rw") not in {"rw", "ro"}:
        raise Refused(WRONG_INPUT, f"{where}: mode is {disk['mode']!r}, neither rw nor ro")
    if "spindles" in disk:
        text = str(disk["spindles"])
        if not text.isdecimal():
            raise Refused(WRONG_INPUT, f"{where}: spindles is {text!r}, not a number")
        disk["spindles"] = int(text)
    return {key: value if key in {"size", "spindles"} else _text(where, key, value) for key, value in disk.items()}


def nics_of(call: Call) -> list[dict[str, Any]]:
    """Give the network interfaces of a new instance: one of the usual kind unless something else is said."""
    described: Described | None = call.option("net")
    if call.option("no_nics"):
        if described:
            raise Refused(WRONG_INPUT, "--no-nics and --net exclude each other")
        return []
    if not described:
        return [{}]
    return [nic_values(f"--net {index}", nic) for index, nic in enumerate(_by_index(described, "--net", MAX_NICS))]


def nic_values(where: str, nic: dict[str, Any]) -> dict[str, Any]:
    """Give the values of an interface as an opcode has them. Raises `Refused` naming the option (`where`)."""
    _refuse_unknown(where, nic, _NIC_KEYS)
    return {key: _text(where, key, value) for key, value in nic.items()}


def _by_index(described: Described, option: str, most: int) -> list[dict[str, Any]]:
    """Put descriptions in their places; places that nobody described stay empty."""
    found: dict[int, dict[str, Any]] = {}
    for ident, values in described:
        if not (ident.isascii() and ident.isdecimal() and len(ident) <= 4):
            raise Refused(WRONG_INPUT, f"{option} {ident[:40]!r}: expected a number before the colon")
        index = int(ident)
        if index >= most:
            raise Refused(WRONG_INPUT, f"{option} {index}: the last possible is {most - 1}")
        if index in found:
            raise Refused(WRONG_INPUT, f"{option} {index} is given twice")
        found[index] = values
    return [found.get(index, {}) for index in range(max(found) + 1)]


def _refuse_unknown(where: str, given: dict[str, Any], known: frozenset[str]) -> None:
    for key in given:
        if key not in known:
            hint = f"there are: {', '.join(sorted(known))}"
            near = _nearest(key, known)
            raise Refused(
                WRONG_INPUT, f"{where}: there is no {key[:40]!r}", hint=f"is {near} meant? {hint}" if near else hint
            )


def _nearest(word: str, known: frozenset[str]) -> str:
    """Give the known word that looks like another one; empty if none does."""
    from difflib import get_close_matches  # noqa: PLC0415  (a list does not wait for it)

    return next(iter(get_close_matches(word[:40], sorted(known), n=1)), "")


def _text(where: str, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Refused(WRONG_INPUT, f"{where}: {key} needs a value: {key}=…")
    return value
