"""What is left to do on the master when its cluster has been destroyed: end the daemons, forget the cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gnt.bootstrap.daemons import ALL, Daemons
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.layout import Layout

# Everything of ours in the data directory; disks of instances live elsewhere and are never touched.
_FILES: Final = (
    "config.db",
    "config.db-wal",
    "config.db-shm",
    "config.db.lock",
    "config.data",
    "calls.db",
    "calls.db-wal",
    "calls.db-shm",
    "membership.json",
    "ca.pem",
    "ca.key",
    "server.pem",
    "rapi.pem",
)


class LeaveRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-cluster destroy` hands over: the cluster that was destroyed, by name."""

    cluster_name: str


def leave(request: LeaveRequest, layout: Layout, say: Callable[[str], None]) -> dict[str, Any]:
    """End the daemons and remove what belonged to the cluster. Raises `Refused` for another cluster's node."""
    try:
        known = layout.ssconf("cluster_name").read_text().strip()
    except OSError:
        known = ""
    if known and known != request.cluster_name:
        raise Refused(WRONG_STATE, f"This node belongs to the cluster {known}, not to {request.cluster_name}")
    daemons = Daemons(layout, os.environ)
    for name in reversed(ALL):
        say(f"ending {name}")
        daemons.stop(name)
    say("removing certificates and configuration")
    paths = [layout.data / name for name in _FILES]
    paths += sorted(layout.data.glob("ssconf_*"))
    # The node daemon's copies for libvirt.
    paths += sorted((layout.etc / "pki").glob("*.pem"))
    for path in paths:
        path.unlink(missing_ok=True)
    return {"cluster": request.cluster_name}
