"""This node's side of a mirror: what of a disk's description concerns it."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.storage.drbd_show import Ends

META_SIZE: Final = 128
LARGEST_META: Final = 1024
LARGEST_MINOR: Final = 255
_BARRIERS: Final = {"b": "--disk-barrier=no", "d": "--disk-drain=no", "f": "--disk-flushes=no"}
_CONTROLLED: Final = ("c-plan-ahead", "c-fill-target", "c-delay-target", "c-max-rate", "c-min-rate")


@dataclass(frozen=True)
class Side:
    """One side of a mirror. `ends` is None where a mirror is to have no connection (yet).

    `data` and `meta` are its volumes, None for a mirror without; `size` in MiB, 0: as large as its volume.
    """

    disk: DiskSpec
    minor: int
    secret: str
    ends: Ends | None
    data: DiskSpec | None
    meta: DiskSpec | None

    @property
    def name(self) -> str:
        """Give the device's name, for people."""
        return f"drbd{self.minor}"

    @property
    def resource(self) -> str:
        """Give the name that the kernel has for it."""
        return f"resource{self.minor}"

    @property
    def size(self) -> int:
        """Give the size in MiB."""
        return self.disk.size

    @property
    def children(self) -> tuple[DiskSpec, ...]:
        """Give its volumes."""
        return tuple(child for child in (self.data, self.meta) if child is not None)

    def __repr__(self) -> str:
        return f"Side({self.disk!r}, minor={self.minor})"


def side_of(disk: DiskSpec, node_uuid: str) -> Side:
    """Find the side of a node (UUID). Raises `NodeFailure` `wrong_input` for a disk that is not mirrored there."""
    if len(disk.logical_id) != 6:
        raise _wrong(disk, "logical_id must be two nodes, a port, two minors and a secret")
    *nodes, port, minor_a, minor_b, secret = disk.logical_id
    if node_uuid not in nodes:
        raise _wrong(disk, f"this node ({node_uuid or 'without a cluster'}) has no side of it")
    first = nodes[0] == node_uuid
    minor = minor_a if first else minor_b
    if not isinstance(minor, int) or not 0 <= minor <= LARGEST_MINOR:
        raise _wrong(disk, f"{minor!r} is no minor", f"minors go from 0 to {LARGEST_MINOR}")
    peer = str(nodes[1] if first else nodes[0])
    if len(disk.children) not in {0, 2}:
        raise _wrong(disk, "a mirror lies on two volumes, for data and for metadata")
    for child in disk.children:
        if child.dev_type is not DiskTemplate.PLAIN:
            raise _wrong(disk, f"it lies on a disk of the template {child.dev_type!s}", "mirrors lie on plain volumes")
    data, meta = disk.children or (None, None)
    ends = _ends(disk, node_uuid, peer, port)
    return Side(disk=disk, minor=minor, secret=str(secret), ends=ends, data=data, meta=meta)


def _ends(disk: DiskSpec, own: str, peer: str, port: Any) -> Ends | None:
    """Give both ends of the connection, of one family; neither for a disk without port or addresses."""
    ours, theirs = disk.addresses.get(own), disk.addresses.get(peer)
    if not isinstance(port, int) or port <= 0 or not ours or not theirs:
        return None
    try:
        one, other = ipaddress.ip_address(ours), ipaddress.ip_address(theirs)
    except ValueError as error:
        raise _wrong(disk, str(error)) from None
    if one.version != other.version:
        raise _wrong(disk, f"{ours} and {theirs} are not of one family")
    family = f"ipv{one.version}"
    return (family, str(one), port), (family, str(other), port)


# Options, as drbdsetup has them


def disk_options(params: Mapping[str, Any]) -> list[str]:
    """Give the options with which a mirror takes its volumes. Missing parameters are a mistake of the caller."""
    words = ["--on-io-error=detach"]
    barriers = str(_parameter(params, "disabled-barriers"))
    if barriers != "n":
        if not barriers or set(barriers) - set(_BARRIERS):
            raise NodeFailure("wrong_input", f"{barriers!r} names no barriers", hint="n, or letters of b, d and f")
        words += [option for letter, option in _BARRIERS.items() if letter in barriers]
    if _parameter(params, "disable-meta-flush"):
        words.append("--md-flushes=no")
    return words + _custom(params, "disk-custom")


def sync_options(params: Mapping[str, Any]) -> list[str]:
    """Give the options that say how fast the sides come into step.

    A rate of its own (KiB/s) holds only with the kernel's controller switched off: in 8.4 that is on by default.
    """
    if not _parameter(params, "dynamic-resync"):
        return ["--c-plan-ahead=0", f"--resync-rate={int(_parameter(params, 'resync-rate'))}"]
    if int(_parameter(params, "c-plan-ahead")) == 0:
        raise NodeFailure("wrong_input", "dynamic-resync needs a c-plan-ahead above 0")
    return [f"--{name}={int(_parameter(params, name))}" for name in _CONTROLLED]


def net_options(side: Side, *, dual: bool) -> list[str]:
    """Give the options of a connection. The secret is among them: they are for no log."""
    params = side.disk.params
    words = ["--protocol", "C" if dual else str(_parameter(params, "protocol"))]
    words += ["--after-sb-0pri", "discard-zero-changes", "--after-sb-1pri", "consensus"]
    if dual:
        words.append("--allow-two-primaries")
    if side.secret:
        words += ["--cram-hmac-alg", "md5", "--shared-secret", side.secret]
    return words + _custom(params, "net-custom")


def _parameter(params: Mapping[str, Any], name: str) -> Any:
    try:
        return params[name]
    except KeyError:
        raise NodeFailure("wrong_input", f"a mirror needs the disk parameter {name}") from None


def _custom(params: Mapping[str, Any], name: str) -> list[str]:
    """Split the administrator's own options as a shell does."""
    try:
        return shlex.split(str(params.get(name) or ""))
    except ValueError as error:
        raise NodeFailure("wrong_input", f"the disk parameter {name} cannot be read: {error}") from None


def _wrong(disk: DiskSpec, why: str, hint: str = "") -> NodeFailure:
    return NodeFailure("wrong_input", f"{disk.shown}: {why}", hint=hint)
