"""Which libvirt a node uses: a libvirtd of its own, the machine's, or the QEMU driver inside this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.model.layout import SOCKET_PATH_LIMIT, Layout

MACHINE_SOCKET: Final = Path("/run/libvirt/libvirt-sock")
_EMBED: Final = "qemu:///embed?root="
_LONGEST_BELOW_EMBED: Final = len("/lib/qemu/domain-999-guestguestguestgue/monitor.sock")

# What must hold for the driver inside this process: it has no cgroups, no log daemon and no other user of its own.
_QEMU_CONF: Final = """\
# Written by gnt-noded for the QEMU driver inside it; your changes stay.
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
"""


def libvirt_uri(layout: Layout, environ: Mapping[str, str], machine_socket: Path = MACHINE_SOCKET) -> str:
    """Give the URI of the libvirt to use: `GNT_LIBVIRT_URI`, else the first libvirtd there is, else our own driver."""
    if environ.get("GNT_LIBVIRT_URI"):
        return environ["GNT_LIBVIRT_URI"]
    own = layout.root / "run/libvirt/libvirt-sock"
    if layout.root != Path("/") and own.exists():
        return f"qemu+unix:///system?socket={own}"
    if machine_socket.exists():
        return "qemu:///system"
    return f"{_EMBED}{layout.data / 'libvirt-embed'}"


def is_embedded(uri: str) -> bool:
    """Say whether libvirt's driver runs inside this process: it ends nobody's guests, but cannot migrate any."""
    return uri.startswith(_EMBED)


def prepare_embedded(uri: str) -> None:
    """Make the directory of an embedded driver and its settings, unless they are there. Nothing for other URIs."""
    if not is_embedded(uri):
        return
    root = Path(uri.removeprefix(_EMBED))
    if len(str(root)) + _LONGEST_BELOW_EMBED > SOCKET_PATH_LIMIT:
        raise NodeFailure(
            "no_libvirt",
            f"{root} is too long a path for libvirt's sockets",
            hint="take a shorter GNT_ROOTDIR, or run libvirtd",
        )
    settings = root / "etc/qemu.conf"
    settings.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not settings.exists():
        settings.write_text(_QEMU_CONF)
