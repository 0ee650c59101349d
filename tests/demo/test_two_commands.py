"""`make cluster` and `make demo` as they run, what `.demo/env` gives, and that `make demo-stop` leaves nothing.

They run in a copy of the checkout, so that a demo that somebody looks at is left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.room import CHECKOUT, why_not

LOOK = """set -eu
. .demo/env
cd /
gnt-node list --json
test -S "$GNT_ROOTDIR/var/run/ganeti/socket/ganeti-master"
test -S "$GNT_ROOTDIR/var/run/ganeti/socket/ganeti-query"
test "$GNT_HOSTNAME" = "$(gnt-cluster getmaster)"
test "$(stat -c %a "$GNT_RAPI_PASSWORD_FILE")" = 600
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """Give a directory with a short name, for a copy of the checkout."""
    base = Path(tempfile.mkdtemp(prefix="gnt.", dir="/tmp"))
    yield base
    shutil.rmtree(base)


def copy(to: Path) -> Path:
    """Copy what the two commands need; what is installed already is shared."""
    to.mkdir(exist_ok=True)
    for part in ("tools", "os"):
        shutil.copytree(CHECKOUT / part, to / part)
    for part in (".venv", ".cache", "gnt"):
        (to / part).symlink_to(CHECKOUT / part)
    (to / "tools/setup.sh").write_text("#!/bin/sh\n# Everything is there: these tests run.\n")
    return to


def run(checkout: Path, *command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout, without a terminal and without input."""
    return subprocess.run(
        command, cwd=checkout, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
    )


def traces(*places: Path) -> list[str]:
    """Give what of the machine still belongs to these places: processes, mounts, loop devices, sockets."""
    found = []
    for place in (str(place) for place in places):
        for path in Path("/proc").glob("[0-9]*"):
            try:
                state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                said = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            except OSError:
                continue
            if place.encode() in said and state != "Z" and int(path.name) != os.getpid():
                found.append(f"process {path.name}: {said[:300]!r}")
        for source in (Path("/proc/mounts"), Path("/proc/net/unix")):
            found += [line for line in source.read_text().splitlines() if place in line]
        found += [str(path) for path in Path("/sys/block").glob("loop*/loop/backing_file") if place in path.read_text()]
    return found


@pytest.mark.parametrize("directory", ["", "a-checkout-with-so-long-a-name-that-sockets-below-it-cannot-be-named"])
def test_a_cluster_for_anybody(short: Path, directory: str) -> None:
    """It runs, any shell can use it, and nothing is left of it; long paths are no obstacle."""
    checkout = copy(short / directory)
    built = run(checkout, "tools/demo/cluster.sh", "2")
    try:
        assert built.returncode == 0, built.stdout + built.stderr
        assert built.stderr.count("\n") <= 10, built.stderr
        base = Path((checkout / ".demo/base").read_text().strip())
        looked = run(checkout, "sh", "-c", LOOK)
        assert looked.returncode == 0, looked.stderr
        assert [row["name"] for row in json.loads(looked.stdout)] == ["node1", "node2"]
        told = run(checkout, "sh", "-c", "set -eu; . .demo/env; gnt-cluster command -M 'echo $GNT_HOSTNAME'")
        lines = [line for line in told.stdout.splitlines() if line.startswith("node")]
        assert lines == ["node2: node2", "node1: node1"], told.stdout + told.stderr
        if shutil.which("curl"):
            asked = run(checkout, "sh", "-c", "set -eu; . .demo/env; curl -sSfK .demo/curl $GNT_RAPI/2/info")
            assert json.loads(asked.stdout)["name"] == "demo", asked.stderr
    finally:
        ended = run(checkout, "tools/demo/stop.sh")
    assert ended.returncode == 0, ended.stderr
    assert not base.exists()
    assert traces(base, checkout / ".demo") == []


def test_a_wrong_number_of_nodes_is_refused_in_words(short: Path) -> None:
    """Nothing is begun."""
    checkout = copy(short)
    for number in ("0", "many", "51", "-3"):
        said = run(checkout, "tools/demo/cluster.sh", number)
        assert said.returncode == 1
        assert said.stderr.startswith("Failure: NODES is a number")
    assert not (checkout / ".demo").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_the_demo_says_that_it_needs_root(short: Path) -> None:
    """And names the way without."""
    said = run(copy(short), "tools/demo/demo.sh")
    assert said.returncode == 1
    assert "make cluster" in said.stderr


@pytest.mark.root
@pytest.mark.guest
@pytest.mark.xdist_group("machine")
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_whole_demo(short: Path) -> None:
    """A real guest greets, moves to node2 and back while it runs; within three minutes, and nothing is left."""
    if Path("/sys/class/net/gntdemo").exists():
        pytest.skip("a demo runs on this machine: make demo-stop in its checkout")
    checkout = copy(short)
    shown = run(checkout, "tools/demo/demo.sh", seconds=180)
    try:
        assert shown.returncode == 0, shown.stdout[-3000:] + shown.stderr
        assert shown.stdout.count("hello from web1") == 2
        assert "Traceback" not in shown.stdout + shown.stderr
        for line in ("node1# gnt-cluster init", "node2# gnt-node join", "node1# gnt-job list", "make demo-stop"):
            assert line in shown.stdout
        assert shown.stdout.count("gnt-instance migrate -f -n") == 2
        verified = run(checkout, "sh", "-c", "set -eu; . .demo/env; gnt-cluster verify")
        assert verified.returncode == 0, verified.stdout
        at_node2 = run(checkout, "sh", "-c", "set -eu; . .demo/env; ssh node2 hostname")
        assert at_node2.stdout == "node2\n"
    finally:
        ended = run(checkout, "tools/demo/stop.sh")
    assert ended.returncode == 0, ended.stderr
    assert traces(checkout / ".demo") == []
    assert not Path("/sys/class/net/gntdemo").exists()
