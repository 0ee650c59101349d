"""What making a cluster and joining one have in common: this machine's name and address, its files, its daemon.

Everything blocks. What is made goes with its undo on an `ExitStack`, so that a later failure leaves the machine as it
was; only logs stay, they say why.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from gnt.bootstrap.plain_machine import local_addresses
from gnt.daemon.files import make_directories, write_atomically
from gnt.daemon.listening import noded_port
from gnt.daemon.names import hosts_file, resolve
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, Refused
from gnt.model.layout import Layout
from gnt.model.names import check_name
from gnt.wire.calls import Membership

NODED_PORT: Final = noded_port()
SECRET: Final = 0o600
PUBLIC: Final = 0o644
SSCONF: Final = 0o444

Say = Callable[[str], None]


# Checks


def own_address(layout: Layout, host: str, *, version: int | None = None) -> str:
    """Give the address that this node's name resolves to. Raises `Refused` if others could not reach it there.

    `version` is 4 or 6 where the administrator wants that kind.
    """
    name = check_name(host, "node")
    address = resolve(layout, name)
    if ipaddress.ip_address(address).is_loopback and str(layout.root) == "/":
        raise Refused(
            ENVIRONMENT,
            f"{name} resolves to {address}, which other nodes cannot reach",
            hint=f"give it the address of an interface, in the name service or in {hosts_file(layout)}",
        )
    if version is not None and version != ipaddress.ip_address(address).version:
        raise Refused(
            WRONG_INPUT, f"{name} resolves to {address}, which is not IPv{version}", hint="--primary-ip-version"
        )
    refuse_not_local(layout, address, name)
    return address


def refuse_not_local(layout: Layout, address: str, what: str) -> None:
    """Refuse an address that no interface of this machine has."""
    if ipaddress.ip_address(address).is_loopback or address in local_addresses():
        return
    raise Refused(ENVIRONMENT, f"{what}: {address} is no address of this machine", hint=f"see {hosts_file(layout)}")


def refuse_busy_port(address: str, port: int = NODED_PORT) -> None:
    """Refuse while something else listens where the node daemon shall."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise Refused(
                ENVIRONMENT,
                f"Port {port} at {address} cannot be used: {error.strerror}",
                hint=f"end what listens there: ss -ltnp sport = :{port}",
            ) from None


# Files


def make_tree(undo: ExitStack, layout: Layout, storage: Iterable[str]) -> None:
    """Make the directories of a node, and `storage` directories (0750)."""
    missing = _missing([*_directories(layout), *map(Path, storage), layout.file_storage_paths.parent])
    undo.callback(_remove_empty, missing)
    undo.callback(_remove_new, layout, frozenset(_states(layout)))
    make_directories(layout)
    for directory in storage:
        path = Path(directory)
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(ENVIRONMENT, f"Cannot make the directory {path}: {error.strerror}") from error


def put(undo: ExitStack, path: Path, content: bytes, mode: int) -> None:
    """Write a file whole; the undo brings back what was there before."""
    keep(undo, path)
    write_atomically(path, content, mode)


def keep(undo: ExitStack, path: Path) -> None:
    """Have the undo bring back a file as it is now, or its absence."""
    try:
        before = path.read_bytes()
        mode = path.stat().st_mode & 0o7777
    except FileNotFoundError:
        undo.callback(path.unlink, missing_ok=True)
    else:
        undo.callback(write_atomically, path, before, mode)


def put_membership(undo: ExitStack, layout: Layout, membership: Membership) -> None:
    """Write which cluster this node belongs to."""
    put(undo, layout.membership, msgspec.json.encode(membership), SECRET)


def put_ssconf(undo: ExitStack, layout: Layout, files: Mapping[str, str]) -> None:
    """Write the small files about the cluster; `files` by name without `ssconf_`."""
    for name, text in files.items():
        put(undo, layout.ssconf(name), text.encode(), SSCONF)


def storage_places(layout: Layout, own: str, shared: str) -> list[str]:
    """Give where this node has the directories of file disks, its own and the shared one; an empty path is left out."""
    return [path for path in (str(layout.here(own)) if own else "", shared) if path]


def allow_storage(undo: ExitStack, layout: Layout, directories: Iterable[str], say: Say) -> None:
    """List the storage directories as allowed, unless the administrator has a list already."""
    path = layout.file_storage_paths
    if path.exists():
        say(f"keeping {path}: file disks may live only where it says")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{directory}\n" for directory in dict.fromkeys(directories))
    put(undo, path, f"# Directories in which file disks may live.\n{lines}".encode(), PUBLIC)


def _directories(layout: Layout) -> list[Path]:
    """Give what `make_directories` makes."""
    return [
        layout.data,
        layout.socket_directory,
        layout.run / "instance-disks",
        layout.os_log,
        layout.default_file_storage(),
        layout.default_shared_file_storage(),
    ]


def _states(layout: Layout) -> list[Path]:
    """Give the files that a daemon makes when it first runs, as far as they are there."""
    places = (
        (layout.data, "config.db*"),
        (layout.data, "calls.db*"),
        (layout.data, "config.data"),
        (layout.data, "ssconf_*"),
        (layout.run, "gnt-*.pid"),
        (layout.socket_directory, "ganeti-*"),
    )
    return [path for directory, pattern in places for path in sorted(directory.glob(pattern))]


def _remove_new(layout: Layout, before: frozenset[Path]) -> None:
    """Remove what daemons have made that were started here and have ended."""
    for path in _states(layout):
        if path not in before:
            path.unlink(missing_ok=True)


def _missing(directories: Iterable[Path]) -> list[Path]:
    """Give those of these and of the directories above them that are not there, the deepest first."""
    found = {place for directory in directories for place in (directory, *directory.parents) if not place.exists()}
    return sorted(found, key=lambda place: len(place.parts), reverse=True)


def _remove_empty(directories: Iterable[Path]) -> None:
    """Remove directories that were made here; one with something in it, a log for example, stays."""
    for directory in directories:
        with suppress(OSError):
            directory.rmdir()
