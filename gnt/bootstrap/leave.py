"""What is left to do on the master when its cluster has been destroyed: end the daemons, forget the cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from gnt.bootstrap.daemons import ALL, Daemons
from gnt.daemon.leaving import forget_cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.layout import Layout


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
    forget_cluster(layout)
    return {"cluster": request.cluster_name}
