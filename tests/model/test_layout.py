"""Where everything lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnt.model.errors import ENVIRONMENT, Refused
from gnt.model.layout import Layout


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({}, "/"),
        ({"GNT_ROOTDIR": "/a"}, "/a"),
        ({"GANETI_ROOTDIR": "/b"}, "/b"),
        ({"GNT_ROOTDIR": "/a", "GANETI_ROOTDIR": "/b"}, "/a"),
        ({"GNT_ROOTDIR": "", "GANETI_ROOTDIR": "/b"}, "/b"),
    ],
)
def test_the_root_of_a_node(environ: dict[str, str], root: str) -> None:
    """Our own variable goes before the one that Ganeti's tools know; without either it is the machine's root."""
    assert Layout.from_environment(environ).root == Path(root)


@pytest.mark.parametrize("name", ["GNT_ROOTDIR", "GANETI_ROOTDIR"])
def test_a_relative_root_is_refused(name: str) -> None:
    """A daemon works in / and would look elsewhere than the command that started it; the variable is named."""
    with pytest.raises(Refused, match=f"{name} is a relative path: demo/node1") as refused:
        Layout.from_environment({name: "demo/node1"})
    assert refused.value.code == ENVIRONMENT
    assert refused.value.hint


@pytest.mark.parametrize(
    ("root", "path", "place"),
    [
        ("/", "/srv/disks", "/srv/disks"),
        ("/moved/n1", "/srv/disks", "/moved/n1/srv/disks"),
        ("/moved/n1", "/moved/n1/srv/disks", "/moved/n1/srv/disks"),
        ("/moved/n1", "/moved/n2/srv", "/moved/n1/moved/n2/srv"),
        ("/moved/n1", "disks", "disks"),
    ],
)
def test_paths_of_a_nodes_own_lie_below_its_root(root: str, path: str, place: str) -> None:
    """The cluster records one path; each node has it in its own tree."""
    layout = Layout(Path(root))
    assert str(layout.here(path)) == place
    if root != "/" and path.startswith("/"):
        assert layout.here(layout.recorded(str(layout.here(path)))) == layout.here(path)


def test_what_the_cluster_records_of_a_nodes_own_path() -> None:
    """Without the root; a path elsewhere stays, and so does everything where the root is not moved."""
    assert Layout(Path("/moved/n1")).recorded("/moved/n1/srv/disks") == "/srv/disks"
    assert Layout(Path("/moved/n1")).recorded("/srv/disks") == "/srv/disks"
    assert Layout(Path("/")).recorded("/moved/n1/srv") == "/moved/n1/srv"
