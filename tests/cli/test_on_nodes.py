"""gnt-cluster command and copyfile, over a program that pretends to be ssh and runs the line here."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gnt.cli.on_nodes import receiving
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster

RULE = "-" * 48


def node(name: str, number: int, **more: Any) -> dict[str, Any]:
    """Make a row of the list of nodes."""
    usual = {"offline": False, "master": name == "node1", "sip": f"198.51.100.{number}", "ndp/ssh_port": 22}
    return {"name": name, "group": "default", "group.uuid": "g1", **usual, **more}


@pytest.fixture
def far(root: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory in which the pretended ssh runs what it is told, in one of its own for each node."""
    master.rows["node"] = [
        node("node1", 1),
        node("node2", 2, **{"ndp/ssh_port": 2222}),
        node("node3", 3, offline=True),
        node("node4", 4, group="rack7", **{"group.uuid": "g2"}),
    ]
    program = root / "ssh"
    program.write_text(
        f"""#!/bin/sh
for word; do case $word in root@*) host=${{word#root@}} ;; esac; last=$word; done
echo "$*" >>{root}/told
[ ! -e {root}/broken-$host ] || {{ echo "ssh: connect to host $host: refused" >&2; exit 255; }}
mkdir -p {root}/$host && cd {root}/$host && HERE={root}/$host exec sh -c "$last"
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("GNT_SSH", str(program))
    monkeypatch.setattr("gnt.cli.on_nodes.has_terminal", lambda: False)
    return root


def test_a_command_on_every_node(gnt: Run, far: Path) -> None:
    """Each with its output and exit status, the master last and without ssh, the offline named, the status 0."""
    ran = gnt("cluster", "command", "echo", "-n", "$HERE;", "exit 3")
    assert ran.status == 0
    assert ran.out == (
        f"{RULE}\nnode: node2\n{far}/node2\nreturn code = 3\n{RULE}\nnode: node4\n{far}/node4\nreturn code = 3\n"
        f"{RULE}\nnode: node1\n\nreturn code = 3\n"
    )
    assert ran.err == "Note: skipping offline node(s): node3\n"
    told = (far / "told").read_text().splitlines()
    assert [line.split("root@")[1].split()[0] for line in told] == ["node2", "node4"]
    assert "-oBatchMode=yes" in told[0]
    assert "-oPort=2222" in told[0]


def test_some_nodes_and_other_forms(gnt: Run, far: Path) -> None:
    """By name, by group; names before lines; failures only; all for programs."""
    assert gnt("cluster", "command", "-n", "node2", "-M", "echo a; echo b >&2").out == (
        f"{RULE}\nnode2: a\nnode2: b\nreturn code = 0\n"
    )
    assert "node: node4" in gnt("cluster", "command", "-g", "rack7", "true").out
    assert gnt("cluster", "command", "--failure-only", "true").out == ""
    (far / "broken-node2").touch()
    found = json.loads(gnt("cluster", "command", "--json", "echo x").out)
    assert found["skipped"] == ["node3"]
    assert found["nodes"] == [
        {"node": "node2", "status": 255, "output": "ssh: connect to host node2: refused\n"},
        {"node": "node4", "status": 0, "output": "x\n"},
        {"node": "node1", "status": 0, "output": "x\n"},
    ]


def test_what_no_node_is_meant_by(gnt: Run, far: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown node, an unknown group, no ssh: nothing is run anywhere."""
    assert gnt("cluster", "command", "-n", "node9", "true").status == 1
    assert "in a group nope" in gnt("cluster", "command", "-g", "nope", "true").err
    assert gnt("cluster", "command").err == "Error: Command command expects at least 1 argument(s)\n"
    assert not (far / "told").exists()
    monkeypatch.setenv("GNT_SSH", "/nowhere/ssh")
    assert gnt("cluster", "command", "-n", "node2", "true").err == (
        "Failure: cannot run /nowhere/ssh: No such file or directory  [environment_error]\n"
    )


def test_a_file_for_every_node(gnt: Run, far: Path, tmp_path: Path) -> None:
    """Content, mode and time; not to the master; what failed is said, and the status is 0 all the same."""
    file = tmp_path / "a b'c"
    file.write_bytes(bytes(range(256)) * 1000)
    file.chmod(0o640)
    os.utime(file, (1_600_000_000, 1_600_000_000))
    (far / "broken-node4").touch()
    ran = gnt("cluster", "copyfile", file)
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == (
        f"Copy of file {file} to node node4 failed: ssh: connect to host node4: refused\n"
        "Note: skipping offline node(s): node3\n"
    )
    assert (far / "told").read_text().count("root@") == 2
    assert "HostName" not in (far / "told").read_text()
    ran = gnt("cluster", "copyfile", "--use-replication-network", "-n", "node2", "--json", file)
    assert json.loads(ran.out)["nodes"] == [{"node": "node2", "success": True, "output": ""}]
    assert "-oHostName=198.51.100.2 -oHostKeyAlias=node2" in (far / "told").read_text()


def test_what_is_no_file(gnt: Run, far: Path, tmp_path: Path) -> None:
    """Nothing is sent."""
    assert "No such file" in gnt("cluster", "copyfile", tmp_path / "none").err
    assert "is no file" in gnt("cluster", "copyfile", "/dev/null").err
    assert gnt("cluster", "copyfile", tmp_path).status == 1
    assert not (far / "told").exists()


def test_plans(gnt: Run, far: Path, tmp_path: Path) -> None:
    """What would be done where; nothing is."""
    file = tmp_path / "a"
    file.write_text("abc")
    assert gnt("cluster", "copyfile", "--plan", file).out == (
        "no job and no lock: as root over SSH, one node after the other\n"
        f"  1 node2 put {file}, 3 bytes\n  2 node4 put {file}, 3 bytes\n"
    )
    found = json.loads(gnt("cluster", "command", "--plan", "--json", "reboot").out)
    assert found["steps"][-1] == {"node": "node1", "text": "reboot"}
    assert not (far / "told").exists()


def names(place: Path) -> list[str]:
    """Give what is in a directory."""
    return [one.name for one in place.iterdir()]


def test_the_receiving_end(tmp_path: Path) -> None:
    """A file that arrives takes the place of the old one whole; one that is cut off leaves the old one alone."""
    source, target = tmp_path / "source", tmp_path / "it's here" / "file"
    source.write_text("new content")
    source.chmod(0o604)
    os.utime(source, (1_600_000_000, 1_600_000_000))
    target.parent.mkdir()
    target.write_text("old")
    line = receiving(target, source.stat())
    cut_off = subprocess.run(["sh", "-c", line], input=b"new con", check=False)
    assert (cut_off.returncode, target.read_text(), names(target.parent)) == (1, "old", ["file"])
    arrived = subprocess.run(["sh", "-c", line], input=b"new content", check=False)
    assert (arrived.returncode, target.read_text(), names(target.parent)) == (0, "new content", ["file"])
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_mtime) == (0o604, 1_600_000_000)
    target.unlink()
    target.mkdir()
    refused = subprocess.run(["sh", "-c", line], input=b"new content", capture_output=True, check=False)
    assert (refused.returncode, names(target)) == (1, [])
