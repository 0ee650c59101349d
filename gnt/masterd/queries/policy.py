"""The instance policy as clients are told it."""

from __future__ import annotations

from typing import Any, Final

from gnt.model.cluster import Cluster
from gnt.model.objects import DiskTemplate, NodeGroup
from gnt.model.policy import fill_ipolicy

OURS: Final = frozenset({DiskTemplate.QCOW2, DiskTemplate.THIN})
"""Templates that Ganeti does not have: its allocation tools refuse a whole cluster whose policy names one."""


def told_ipolicy(cluster: Cluster, group: NodeGroup | None) -> dict[str, Any]:
    """Give a filled policy. Of templates of ours it names those that are enabled: allowing others has no effect."""
    policy = fill_ipolicy(cluster, group)
    hidden = OURS - set(cluster.settings.enabled_disk_templates)
    return {**policy, "disk-templates": [name for name in policy["disk-templates"] if name not in hidden]}
