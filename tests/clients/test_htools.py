"""Debian's htools, which nobody here wrote, at the LUXI socket of a real cluster: they read it, and they change it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import PASSWORD, Live, live_cluster, wait_until

pytestmark = pytest.mark.skipif(shutil.which("hbal") is None, reason="Debian's package ganeti-htools is not installed")

NAMES = ("web1", "web2", "web3", "web4")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Give a cluster of three nodes with four running instances, all of them on the first."""
    with live_cluster(3) as running:
        for name in NAMES:
            options = ("-t", "sharedfile", "--disk", "0:size=8m", "--no-install", "-o", "none", "--no-nics")
            running.command("node1", "gnt-instance", "add", *options, "--ignore-ipolicy", "-n", "node1", name)
        running.command("node1", "gnt-instance", "startup", "--all", "--force-multiple")
        yield running


def tool(live: Live, name: str, *options: str) -> str:
    """Run one of the tools on the socket where it looks by itself, and give what it printed; it must end well."""
    socket = live.layout("node1").query_socket
    done = subprocess.run(
        [name, *options, f"-L{socket}"], capture_output=True, text=True, timeout=60, check=False, cwd=live.base
    )
    assert done.returncode == 0, f"{name} {options}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr  # lists of nodes go to the latter


def test_hinfo_sees_the_cluster(live: Live) -> None:
    """Nodes, instances, groups; memory of the nodes as they told it, and the instances of each."""
    said = tool(live, "hinfo", "-v", "-pname,pcnt,tmem")
    assert "Loaded 3 nodes, 4 instances, 1 node group" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if re.match(r"\s*node\d\s", line)}
    assert {node: row[0] for node, row in rows.items()} == {"node1": "4", "node2": "0", "node3": "0"}
    assert all(int(row[1]) > 0 for row in rows.values())


def test_hinfo_finds_the_older_socket_too(live: Live) -> None:
    """The same answers wherever a client looks."""
    done = subprocess.run(
        ["hinfo", f"-L{live.layout('node1').master_socket}"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Loaded 3 nodes, 4 instances" in done.stdout


def test_hcheck_finds_nothing_wrong(live: Live) -> None:
    """It is a cluster that needs no repair."""
    assert "no problems found" in tool(live, "hcheck")


def test_hspace_counts_what_fits(live: Live) -> None:
    """It knows the policy's standard instance, and finds room for some."""
    said = tool(live, "hspace")
    assert "There are 4 initial instances" in said
    allocated = re.search(r"-\s+(\d+) instances allocated", said)
    assert allocated is not None
    assert int(allocated[1]) > 0


def test_hroller_groups_the_nodes(live: Live) -> None:
    """Every node is in one of the groups that may be rebooted together."""
    said = tool(live, "hroller", "--force")
    assert set(re.findall(r"node\d", said)) == {"node1", "node2", "node3"}


def test_hsqueeze_names_the_nodes_to_spare(live: Live) -> None:
    """Those that carry nothing could be switched off; the nodes that may be are marked by a tag."""
    for node in ("node2", "node3"):
        live.luxi(
            "SubmitJob", [{"OP_ID": "OP_TAGS_SET", "kind": "node", "name": node, "tags": ["htools:standby:auto"]}]
        )
    said = tool(live, "hsqueeze")
    assert "Nodes to offline" in said


def test_harep_finds_nothing_to_repair(live: Live) -> None:
    """It looks for instances whose tags allow repairs, and does nothing without them."""
    before = live.luxi("QueryJobs", None, ["id"])
    tool(live, "harep")
    assert live.luxi("QueryJobs", None, ["id"]) == before


def test_hscan_writes_down_the_cluster(live: Live) -> None:
    """What it saves is read by the other tools as a cluster of the same size."""
    place = live.base / "scan"
    place.mkdir()
    said = tool(live, "hscan", f"-d{place}")
    assert re.search(r"^LOCAL\s+3\s+4\s", said, re.MULTILINE), said
    (saved,) = Path(place).glob("*.data")
    again = subprocess.run(["hinfo", "-t", str(saved)], capture_output=True, text=True, timeout=60, check=True)
    assert "Loaded 3 nodes, 4 instances" in again.stdout


def over_rapi(live: Live, name: str, *options: str) -> str:
    """Run one of the tools against the remote API, with user and password in the address."""
    address = f"https://reader:{PASSWORD}@{live.address('node1')}:5080"
    wait_until(lambda: live.rapi("/version")[0], "the remote API does not answer")
    done = subprocess.run(
        [name, *options, f"-m{address}"], capture_output=True, text=True, timeout=60, check=False, cwd=live.base
    )
    assert done.returncode == 0, f"{name} {options}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_the_remote_api_tells_them_the_same(live: Live) -> None:
    """Whether they ask at the socket or from afar; a user who only reads is enough."""
    said = over_rapi(live, "hinfo", "-v", "-pname,pcnt,tmem")
    assert "Loaded 3 nodes, 4 instances, 1 node group" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if re.match(r"\s*node\d\s", line)}
    assert {node: row[0] for node, row in rows.items()} == {"node1": "4", "node2": "0", "node3": "0"}
    assert all(int(row[1]) > 0 for row in rows.values())


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("hbal", (), "web1"),
        ("hcheck", (), "no problems found"),
        ("hspace", (), "There are 4 initial instances"),
        ("hroller", ("--force",), "node1"),
    ],
)
def test_tools_over_the_remote_api(live: Live, name: str, options: tuple[str, ...], expected: str) -> None:
    """Each comes to its result."""
    assert expected in over_rapi(live, name, *options)


def test_hbal_moves_instances(live: Live) -> None:
    """It says what it would do, submits the jobs when it is told to, and is content afterwards."""
    assert "web1" in tool(live, "hbal")
    assert {row["pnode"] for row in live.json("gnt-instance", "list", "-o", "pnode")} == {"node1"}
    said = tool(live, "hbal", "-X")
    assert "Got job IDs" in said
    rows = live.json("gnt-instance", "list", "-o", "name,pnode,status")
    assert {row["pnode"] for row in rows} == {"node1", "node2", "node3"}
    assert {row["status"] for row in rows} == {"running"}
    assert "Cluster is already well balanced" in tool(live, "hbal") or "No solution found" in tool(live, "hbal")


def test_a_node_that_is_offline_is_shown_to_them(live: Live) -> None:
    """It is no node to place anything on; hinfo lists it with its flag."""
    empty = next(node for node in ("node3", "node2") if not _instances_on(live, node) or _clear(live, node))
    live.command("node1", "gnt-node", "modify", "-O", "yes", empty)
    said = tool(live, "hinfo", "-pstatus,name")
    assert re.search(rf"^\s*-\s+{empty}\s*$", said, re.MULTILINE), said
    live.command("node1", "gnt-node", "modify", "-f", "-O", "no", empty)


def _instances_on(live: Live, node: str) -> list[str]:
    ((found,),) = ([row["pinst_list"]] for row in live.json("gnt-node", "list", "-o", "pinst_list", node))
    return list(found)


def _clear(live: Live, node: str) -> bool:
    """Move everything from a node to the first."""
    for name in _instances_on(live, node):
        live.command("node1", "gnt-instance", "migrate", "-f", "-n", "node1", name)
    return True
