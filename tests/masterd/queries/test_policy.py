"""The instance policy that clients are told."""

from __future__ import annotations

from msgspec.structs import replace

from gnt.masterd.queries.policy import OURS, told_ipolicy
from gnt.model.cluster import Cluster
from gnt.model.objects import DiskTemplate
from gnt.model.policy import fill_ipolicy
from tests.masterd.queries.conftest import make_cluster


def templates(cluster: Cluster) -> set[str]:
    """Give the templates that the policy is told to allow."""
    return set(told_ipolicy(cluster, None)["disk-templates"])


def test_templates_that_others_do_not_know() -> None:
    """Debian's htools refuse a policy that names one: it is named once it is enabled, and nothing else is left out."""
    cluster = make_cluster()
    known = set(fill_ipolicy(cluster, None)["disk-templates"])
    assert known >= OURS
    assert templates(cluster) == known - OURS
    enabled = replace(cluster.settings, enabled_disk_templates=(DiskTemplate.SHAREDFILE, DiskTemplate.THIN))
    assert templates(cluster.put(enabled)) == known - {DiskTemplate.QCOW2}
