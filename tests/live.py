"""A real cluster for tests: real daemons on loopback addresses, built with the commands that administrators type.

Every node has a root of its own below a short temporary directory, with the hypervisor `fake`. Whoever is left when
the cluster ends is an error.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnt.bootstrap.daemons import ALL, NODED, Daemons
from gnt.model.layout import Layout
from gnt.wire.luxi_client import LuxiClient

BIN = Path(sys.executable).parent
PORTS = (1811, 1816, 5080)
PATIENCE = 60.0
PASSWORD = "for-this-test-only"

_SSH = """#!/bin/sh
# Stands in for ssh: runs the command as that node. What it was called with is noted.
echo "$*" >>"{base}/ssh.log"
while [ $# -gt 0 ]; do
    case $1 in
    root@*) node=${{1#root@}}; shift; break ;;
    *) shift ;;
    esac
done
[ -d "{base}/$node" ] || {{ echo "ssh: Could not resolve hostname $node" >&2; exit 255; }}
exec env GNT_ROOTDIR="{base}/$node" GNT_HOSTNAME="$node" "$@"
"""


def wait_until(condition: Callable[[], Any], failure: str, seconds: float = PATIENCE, every: float = 0.02) -> Any:
    """Wait for something that happens in another process and give what it is; fail in words when it does not."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, failure
        time.sleep(every)
    return found


def free_prefix() -> str:
    """Give three octets of loopback addresses on which nobody listens, and which nobody else will come upon."""
    chance = random.SystemRandom()  # the usual one may be told where to begin
    for _ in range(60):
        prefix = f"127.{chance.randint(1, 254)}.{chance.randint(0, 255)}"
        try:
            for port in PORTS:
                with socket.socket() as probe:
                    probe.bind((f"{prefix}.1", port))
        except OSError:
            continue
        return prefix
    raise AssertionError("no loopback address has its ports free")


@dataclass
class Live:
    """A cluster under `base`; its nodes are named node1, node2, ..., the first is the master."""

    base: Path
    prefix: str
    names: tuple[str, ...]
    background: list[subprocess.Popen[str]] = field(default_factory=list)
    # Seconds that a command has, on a machine that is busy with other things.
    patience: float = 180.0

    # Where things are

    def root(self, node: str) -> Path:
        """Give a node's GNT_ROOTDIR."""
        return self.base / node

    def layout(self, node: str) -> Layout:
        """Give the paths of a node."""
        return Layout(self.root(node))

    def address(self, node: str) -> str:
        """Give a node's address."""
        return f"{self.prefix}.{node.removeprefix('node')}"

    def environ(self, node: str) -> dict[str, str]:
        """Give the environment of whoever works on a node."""
        return {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.base),
            "LC_ALL": "C.UTF-8",
            "GNT_ROOTDIR": str(self.root(node)),
            "GNT_HOSTNAME": node,
            "GNT_SSH": str(self.base / "ssh"),
            "LVM_SYSTEM_DIR": str(self.base / "lvm"),
        }

    def enter(self, node: str, argv: Sequence[str | Path]) -> list[str | Path]:
        """Give the command line that runs a program where a node lives: here, on this machine."""
        return list(argv)

    # What people do

    def command(
        self, node: str, program: str, *arguments: str, given: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a gnt-* command on a node with `given` on its standard input; a failure is an error if `check`."""
        done = subprocess.run(
            self.enter(node, [BIN / program, *arguments]),
            env=self.environ(node),
            input=given or "",
            capture_output=True,
            text=True,
            timeout=self.patience,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        if check:
            assert done.returncode == 0, f"{program} {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, program: str, *arguments: str) -> Any:
        """Run a command with `--json` on the master and give what it printed."""
        return json.loads(self.command("node1", program, arguments[0], "--json", *arguments[1:]).stdout)

    def refused(self, program: str, *arguments: str, status: int = 1, given: str | None = None) -> str:
        """Run a command on the master that must fail: gives what it said, one line and perhaps a remedy."""
        done = self.command("node1", program, *arguments, given=given, check=False)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}{done.stderr}"
        lines = done.stderr.splitlines()
        assert len([line for line in lines if not line.startswith("  ")]) == 1, done.stderr
        return done.stderr

    def spawn(self, node: str, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and let it run; it ends with the cluster at the latest."""
        started = subprocess.Popen(
            self.enter(node, [BIN / program, *arguments]),
            env=self.environ(node),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.background.append(started)
        return started

    def add_by_token(self, node: str) -> None:
        """Take a node in: the token printed on the master is typed on the new node."""
        adding = self.spawn("node1", "gnt-node", "add", "--json", "--token", node)
        assert adding.stdout is not None
        said = json.loads(adding.stdout.readline())
        self.command(node, "gnt-node", "join", given=said["token"])
        assert adding.wait(PATIENCE) == 0, adding.stdout.read()

    # Daemons

    def daemons(self, node: str) -> Daemons:
        """Give what starts and ends the daemons of a node."""
        return Daemons(self.layout(node), self.environ(node))

    def pid(self, node: str, daemon: str) -> int:
        """Give the process of a daemon that must be alive."""
        found = self.daemons(node).pid(daemon)
        assert found is not None, f"{daemon} does not run on {node}: {self.log(node, daemon)[-2000:]}"
        return found

    def kill(self, node: str, daemon: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a daemon and wait until it has ended."""
        pid = self.pid(node, daemon)
        os.kill(pid, number)
        wait_until(lambda: self.daemons(node).pid(daemon) is None, f"{daemon} ({pid}) did not end")

    def start(self, node: str, daemon: str) -> None:
        """Start a daemon and wait until it serves."""
        daemons = self.daemons(node)
        daemons.start(daemon)
        if daemon == NODED:
            daemons.wait_for_noded(self.address(node), 1811)
        elif daemon == "gnt-masterd":
            daemons.wait_for_masterd()
        else:
            wait_until(lambda: self.rapi("/version")[0], "the remote API does not answer")

    def restart(self, node: str, daemon: str) -> None:
        """End a daemon in order and start it again."""
        self.kill(node, daemon, signal.SIGTERM)
        self.start(node, daemon)

    def log(self, node: str, daemon: str) -> str:
        """Give a daemon's log."""
        names = {"gnt-noded": "node-daemon", "gnt-masterd": "master-daemon", "gnt-rapi": "rapi-daemon"}
        path = self.layout(node).log / f"{names[daemon]}.log"
        return path.read_text() if path.exists() else ""

    # What programs do

    def luxi(self, method: str, *arguments: Any) -> Any:
        """Call a LUXI method of the master and give its result; raises errors of the family."""
        with LuxiClient(self.layout("node1").master_socket) as client:
            return client.call(method, *arguments)

    def luxi_raw(self, data: bytes) -> bytes:
        """Send bytes to the master's socket and give what it answers until it closes or a message is complete."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.layout("node1").master_socket))
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have heard enough
                connection.sendall(data)
            answer = b""
            with suppress(ConnectionResetError):
                while not answer.endswith(b"\x03") and (more := connection.recv(65536)):
                    answer += more
            return answer

    def rapi(
        self, path: str, method: str = "GET", body: Any = None, *, raw: bytes | None = None, user: str = "demo"
    ) -> tuple[int, Any]:
        """Ask the remote API: gives the HTTP code and the decoded answer, (0, None) if nobody listens."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://{self.address('node1')}:5080{path}", data, method=method)
        if user:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode())
        if data is not None:
            request.add_header("Content-Type", "application/json")
        trust = ssl.create_default_context(cafile=str(self.layout("node1").authority_certificate))
        try:
            with urllib.request.urlopen(request, context=trust, timeout=PATIENCE) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as problem:
            return problem.code, json.loads(problem.read())
        except urllib.error.URLError:
            return 0, None

    def job(self, number: int | str) -> dict[str, Any]:
        """Wait until a job has ended and give it as the remote API tells it."""
        ended = ("success", "error", "canceled")

        def look() -> Any:
            _, found = self.rapi(f"/2/jobs/{number}")
            return found if found["status"] in ended else None

        found: dict[str, Any] = wait_until(look, f"job {number} does not end")
        return found

    def instances(self) -> dict[str, str]:
        """Give the status of every instance by name."""
        return {row["name"]: row["status"] for row in self.json("gnt-instance", "list", "-o", "name,status")}

    # The end

    def processes(self) -> dict[int, str]:
        """Give all living processes that belong to this cluster, with their command lines."""
        mark = f"GNT_ROOTDIR={self.base}/".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes():
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def end(self) -> None:
        """End all daemons in order, then fail if anything else is left, or if a daemon had to be killed."""
        for started in self.background:
            started.kill()
            started.wait()
            if started.stdout is not None:
                started.stdout.close()
        known = {pid for node in self.names for name in ALL if (pid := self.daemons(node).pid(name)) is not None}
        strangers = {pid: command for pid, command in self.processes().items() if pid not in known}
        for pid in known:
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"these did not end by themselves: {left}"
        assert not strangers, f"these were left behind: {strangers}"


def lay_out(live: Live) -> None:
    """Make the nodes' trees as an administrator prepares them."""
    hosts = "".join(f"{live.address(node)} {node}\n" for node in live.names) + f"{live.address('node1')} cluster\n"
    for node in live.names:
        root = live.root(node)
        (root / "etc").mkdir(parents=True)
        (root / "etc/hosts").write_text(hosts)
    # Volume groups of the machine are not the nodes'.
    (live.base / "lvm").mkdir()
    (live.base / "lvm/lvm.conf").write_text('devices { filter = [ "r|.*|" ]\n use_devicesfile = 0 }\n')
    ssh = live.base / "ssh"
    ssh.write_text(_SSH.format(base=live.base))
    ssh.chmod(0o755)


def add_rapi_user(live: Live) -> None:
    """Let the user `demo` write."""
    users = live.layout("node1").rapi_users
    users.parent.mkdir(parents=True, exist_ok=True)
    users.touch(mode=0o600)
    users.write_text(f"demo {PASSWORD} write\nreader {PASSWORD} read\n")


@contextmanager
def trees(nodes: int = 1) -> Iterator[Live]:
    """Give prepared nodes on which nothing was done yet; whatever was started has ended afterwards."""
    base = Path(tempfile.mkdtemp(prefix="gnt.", dir="/tmp"))  # short: socket paths have a limit
    live = Live(base, free_prefix(), tuple(f"node{number}" for number in range(1, nodes + 1)))
    try:
        lay_out(live)
        try:
            yield live
        finally:
            live.end()
    finally:
        shutil.rmtree(base)


def init(live: Live, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `gnt-cluster init` on node1 with the hypervisor `fake`."""
    fake: Sequence[str] = ("--enabled-hypervisors", "fake", "--master-netdev", "lo")
    return live.command("node1", "gnt-cluster", "init", *fake, *arguments, "cluster", check=check)


@contextmanager
def live_cluster(nodes: int = 3) -> Iterator[Live]:
    """Give a running cluster: node2 was added with a token, all further ones over SSH."""
    with trees(nodes) as live:
        init(live)
        add_rapi_user(live)
        for node in live.names[1:]:
            if node == "node2":
                live.add_by_token(node)
            else:
                live.command("node1", "gnt-node", "add", node)
        yield live
