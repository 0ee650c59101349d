"""Where everything lives below a node's root directory.

The names are those that existing tools look for: `spec/daemons.md`, section 7. `GNT_ROOTDIR` (or `GANETI_ROOTDIR`)
moves the whole tree, `GNT_HOSTNAME` (or `GANETI_HOSTNAME`) the node's own name, so several nodes live on one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gnt.model.errors import ENVIRONMENT, Refused

if TYPE_CHECKING:
    from pathlib import Path

# sun_path of struct sockaddr_un has 108 bytes on Linux, the last of them NUL.
SOCKET_PATH_LIMIT = 107

# File names in `Layout.libvirt_pki`: libvirtd, its clients and QEMU each look for others. The last one is written last.
LIBVIRT_KEYS: Final = ("serverkey.pem", "clientkey.pem", "server-key.pem", "client-key.pem")
LIBVIRT_CERTIFICATES: Final = (
    *("cacert.pem", "ca-cert.pem"),
    *("server-cert.pem", "client-cert.pem", "clientcert.pem", "servercert.pem"),
)


# What every command needs, below the root: as texts, because Path takes longer to load than a list may take.
MASTER_SOCKET: Final = "var/run/ganeti/socket/ganeti-master"
QUERY_SOCKET: Final = "var/run/ganeti/socket/ganeti-query"
COMMANDS_LOG: Final = "var/log/ganeti/commands.log"


def root_from(environ: Mapping[str, str]) -> str:
    """Give the root from `GNT_ROOTDIR`, else `GANETI_ROOTDIR`, else `/`.

    Raises `Refused` (environment_error) for a relative one: daemons work in another directory than their starter.
    """
    name = "GNT_ROOTDIR" if environ.get("GNT_ROOTDIR") else "GANETI_ROOTDIR"
    root = environ.get(name) or "/"
    if not root.startswith("/"):
        raise Refused(ENVIRONMENT, f"{name} is a relative path: {root}", hint="give it from / on")
    return root


class Layout:
    """The paths of one node. `root` is `/` on a real machine.

    Every command makes one before anything else, so this is no dataclass: what those load takes as long as a list.
    """

    __slots__ = ("root",)

    FOLLOWS_LINKS = True
    """Whether the machine's symbolic links lead anywhere; the simulator's machines have none."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root

    def __repr__(self) -> str:
        return f"Layout({self.root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Layout:
        """Take the root from the environment: `root_from`."""
        from pathlib import Path  # noqa: PLC0415

        return cls(Path(root_from(environ)))

    @property
    def data(self) -> Path:
        """Give the data directory: configuration, certificates, ssconf."""
        return self.root / "var/lib/ganeti"

    @property
    def run(self) -> Path:
        """Give the directory of sockets and pid files."""
        return self.root / "var/run/ganeti"

    @property
    def log(self) -> Path:
        """Give the log directory."""
        return self.root / "var/log/ganeti"

    @property
    def etc(self) -> Path:
        """Give the directory of the administrator's own files (hooks, allowed paths)."""
        return self.root / "etc/ganeti"

    @property
    def config_db(self) -> Path:
        """Give the store: the truth about cluster, jobs and history."""
        return self.data / "config.db"

    @property
    def config_data(self) -> Path:
        """Give the JSON view of the configuration for people and other programs; never read back."""
        return self.data / "config.data"

    @property
    def config_digest(self) -> Path:
        """Give the digest of `config.data` as it was written."""
        return self.data / "config.data.sha256"

    @property
    def high_water(self) -> Path:
        """Give the file that says how far this node's store had come."""
        return self.data / "config.db.mark"

    @property
    def authority_certificate(self) -> Path:
        """Give the certificate of the cluster's own authority; on every node."""
        return self.data / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """Give the key of the authority: 0600, on master candidates only."""
        return self.data / "ca.key"

    @property
    def node_pem(self) -> Path:
        """Give this node's own key and certificate (one file, 0600); the key never leaves the node."""
        return self.data / "server.pem"

    @property
    def rapi_pem(self) -> Path:
        """Give the key and certificate of the remote API (0600)."""
        return self.data / "rapi.pem"

    @property
    def rapi_users(self) -> Path:
        """Give the users file of the remote API."""
        return self.data / "rapi/users"

    @property
    def membership(self) -> Path:
        """Give what the node knows of its cluster, and whose orders it takes (0600); its absence: a node of none."""
        return self.data / "membership.json"

    @property
    def calls_db(self) -> Path:
        """Give the node daemon's call table and promised epoch."""
        return self.data / "calls.db"

    @property
    def takeover(self) -> Path:
        """Give the order for the next start of the master daemon: to take over. It is taken away when it is read."""
        return self.data / "takeover.json"

    @property
    def master_address(self) -> Path:
        """Give the note that this node has raised the cluster's address; gone after a boot, as the address is."""
        return self.run / "master-ip.json"

    @property
    def socket_directory(self) -> Path:
        """Give the directory of the LUXI sockets (0750)."""
        return self.run / "socket"

    @property
    def master_socket(self) -> Path:
        """Give the LUXI socket of all clients up to 2.11."""
        return self.root / MASTER_SOCKET

    @property
    def query_socket(self) -> Path:
        """Give the LUXI socket of clients since 2.12; the same handler listens on both."""
        return self.root / QUERY_SOCKET

    @property
    def os_log(self) -> Path:
        """Give the directory with one log for each run of a guest OS script."""
        return self.log / "os"

    @property
    def hooks(self) -> Path:
        """Give the directory of hook directories."""
        return self.etc / "hooks"

    @property
    def libvirt_pki(self) -> Path:
        """Give the directory with the node's certificate as libvirt and QEMU want it."""
        return self.etc / "pki"

    @property
    def file_storage_paths(self) -> Path:
        """Give the administrator's list of directories in which file disks may live."""
        return self.etc / "file-storage-paths"

    def ssconf(self, name: str) -> Path:
        """Give the path of one ssconf value, for example `master_node`."""
        return self.data / f"ssconf_{name}"

    def pid_file(self, daemon: str) -> Path:
        """Give the pid file of a daemon, for example `gnt-masterd`."""
        return self.run / f"{daemon}.pid"

    def os_search_path(self) -> tuple[Path, ...]:
        """Give the directories that are searched for guest OS definitions, first wins.

        Below a moved root the machine's own directories follow the node's, so that packaged definitions serve all.
        """
        return self._searched("os")

    def ext_storage_search_path(self) -> tuple[Path, ...]:
        """Give the directories that are searched for external storage providers, as those of guest OS definitions."""
        return self._searched("extstorage")

    def _searched(self, what: str) -> tuple[Path, ...]:
        places = ("srv/ganeti", "usr/local/lib/ganeti", "usr/lib/ganeti", "usr/share/ganeti")
        own = tuple(self.root / place / what for place in places)
        machine = self.root.root
        if str(self.root) == machine:
            return own
        return own + tuple(type(self.root)(machine, place, what) for place in places)

    @property
    def exports(self) -> Path:
        """Give the directory with one directory for each export: `spec/backup.md`, section 1."""
        return self.root / "srv/ganeti/export"

    def here(self, path: str) -> Path:
        """Give where a path of a node's own tree is on this node: below its root, unless it says so itself.

        The cluster records one path for what each node has for itself; below moved roots that is another place on each.
        """
        given = type(self.root)(path)
        if str(self.root) == self.root.root or not given.is_absolute() or given.is_relative_to(self.root):
            return given
        return self.root / given.relative_to(given.root)

    def recorded(self, path: str) -> str:
        """Give the path that the cluster records for a place on this node: what `here` makes of it is that place."""
        given = type(self.root)(path)
        if str(self.root) == self.root.root or not given.is_relative_to(self.root):
            return path
        return self.root.root + str(given.relative_to(self.root))

    def default_file_storage(self) -> Path:
        """Give the default base of file disks."""
        return self.root / "srv/ganeti/file-storage"

    def default_shared_file_storage(self) -> Path:
        """Give the default base of shared file disks."""
        return self.root / "srv/ganeti/shared-file-storage"


def host_name(environ: Mapping[str, str], system: str) -> str:
    """Give the node's own name: `GNT_HOSTNAME`, else `GANETI_HOSTNAME`, else what the system says."""
    return environ.get("GNT_HOSTNAME") or environ.get("GANETI_HOSTNAME") or system
