"""libvirt inside the node daemon, for nodes without libvirtd: guests outlive the daemon."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.noded.hypervisors.libvirt_place import prepare_embedded
from tests.noded.hypervisors.guest_initrd import write_initrd
from tests.noded.hypervisors.libvirt_room import guest_files, missing


class Node:
    """A node's directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_initrd(guest_files()[1], root / "initrd")

    def daemon(self, *deeds: str) -> dict[str, Any]:
        """Run a daemon from its start to its end."""
        program = "tests.noded.hypervisors.embedded_node"
        command = [sys.executable, "-m", program, str(self.root), str(guest_files()[0]), str(self.root / "initrd")]
        repository = Path(__file__).parents[3]
        ended = subprocess.run(
            [*command, *deeds], cwd=repository, capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode == 0, ended.stderr
        said: dict[str, Any] = msgspec.json.decode(ended.stdout)
        return said


@pytest.fixture
def node() -> Iterator[Node]:
    """Give a node whose path is short enough for libvirt's sockets."""
    if missing():
        pytest.skip(missing())
    root = Path(tempfile.mkdtemp(prefix="gnt-"))
    made = Node(root)
    try:
        yield made
    finally:
        made.daemon("plug")
        shutil.rmtree(root)


@pytest.mark.guest
def test_guest_outlives_the_daemon(node: Node) -> None:
    """A second daemon finds the guest that the first one started, reads its console's place and has it halt."""
    assert node.daemon("start", "boot")["after boot"] == ["running"]
    said = node.daemon("console", "attach", "accept", "halt")
    assert said["after console"] == ["running"]
    assert said["console"][-2] == "--terminal"
    assert said["console"][-1].startswith("/dev/pts/")
    assert "the answer is 42" in said["attach"]
    assert said["accept"] == "unsupported"
    assert said["asked"] is True
    assert said["after halt"] == []


def test_path_too_long_for_sockets() -> None:
    """It is refused in words, before libvirt fails in its own."""
    with pytest.raises(NodeFailure, match="too long a path for libvirt's sockets") as failure:
        prepare_embedded(f"qemu:///embed?root=/{'a' * 70}")
    assert "GNT_ROOTDIR" in failure.value.hint


def test_settings_are_written_once() -> None:
    """Settings that are there stay."""
    root = Path(tempfile.mkdtemp(prefix="gnt-", dir="/tmp"))
    try:
        prepare_embedded(f"qemu:///embed?root={root}")
        settings = root / "etc/qemu.conf"
        assert 'stdio_handler = "file"' in settings.read_text()
        settings.write_text("# mine\n")
        prepare_embedded(f"qemu:///embed?root={root}")
        assert settings.read_text() == "# mine\n"
    finally:
        shutil.rmtree(root)
    prepare_embedded("qemu:///system")
