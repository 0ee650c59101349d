"""What is left of a cluster on the machine that was its master."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnt.bootstrap.leave import LeaveRequest, leave
from gnt.model.errors import Refused
from gnt.model.layout import Layout

SECRETS = ("ca.key", "server.pem", "rapi.pem", "config.db", "config.db-wal", "membership.json")
# What rare things leave behind: a store set aside, entries that no majority had, a copy on its way, a crash.
RARE = ("config.db.aside", "config.db.lost-2-7-9", "config.db.receiving-x1", "config.db.sending-x2", ".ca.key.x.new")
KEPT = ("rapi/users",)


def node_of(tmp_path: Path, *names: str) -> Layout:
    """Make a node of the cluster `demo` with these files in its data directory."""
    layout = Layout(tmp_path / "node1")
    for name in ("ssconf_cluster_name", *names):
        (layout.data / name).parent.mkdir(parents=True, exist_ok=True)
        (layout.data / name).write_text("demo\n")
    return layout


def test_nothing_of_the_cluster_stays(tmp_path: Path) -> None:
    """No secret is left on the machine; what is the administrator's own stays."""
    layout = node_of(tmp_path, *SECRETS, *RARE, *KEPT)
    layout.libvirt_pki.mkdir(parents=True)
    for name in ("serverkey.pem", "servercert.pem", ".serverkey.pem.new", "own.pem"):
        (layout.libvirt_pki / name).write_text("x")
    said: list[str] = []
    assert leave(LeaveRequest(cluster_name="demo"), layout, said.append) == {"cluster": "demo"}
    left = [path.relative_to(layout.data) for path in layout.data.rglob("*") if path.is_file()]
    assert sorted(map(str, left)) == sorted(KEPT)
    assert [path.name for path in layout.libvirt_pki.iterdir()] == ["own.pem"]
    assert said == ["ending gnt-rapi", "ending gnt-masterd", "ending gnt-noded", said[-1]]


def test_another_clusters_node_is_left_alone(tmp_path: Path) -> None:
    """The name is asked for again because what follows cannot be undone."""
    layout = node_of(tmp_path, *SECRETS)
    with pytest.raises(Refused, match="belongs to the cluster demo, not to other"):
        leave(LeaveRequest(cluster_name="other"), layout, lambda _text: None)
    assert all((layout.data / name).exists() for name in SECRETS)
