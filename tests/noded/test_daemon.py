"""`twistd gnt-noded` as an administrator or systemd runs it: exit codes, readiness, calls, an orderly end."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor as _reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from gnt.model.epoch import START, Epoch
from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.wire import certificates
from gnt.wire.calls import Configure, Delay, LeaveCluster, Membership, NodeCall, NodeVerify, Version
from gnt.wire.envelope import Request
from gnt.wire.pb_client import NodeLink
from gnt.wire.tls import ClientTls
from tests.wire import cluster_keys
from tests.wire.cluster_keys import MASTER_UUID, NODE_UUID

reactor: Any = _reactor
HERE = Path(__file__).resolve().parents[2]
NAME = "node1.example.com"
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def free_port() -> int:
    """Give a port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NodeRoot:
    """The tree of a node below a temporary directory, as joining leaves it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.data.mkdir(parents=True)
        self.port = free_port()
        self.notify = root / "notify"
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(self.notify))
        self.channel.settimeout(30)
        self.authority = cluster_keys.authority()
        self.master = cluster_keys.node(self.authority, "node2.example.com", MASTER_UUID)

    def join(self) -> None:
        """Put keys and membership in place."""
        identity = cluster_keys.node(self.authority, NAME, NODE_UUID)
        certificates.save_identity(self.layout.node_pem, identity)
        certificates.save_public(self.layout.authority_certificate, self.authority.certificate)
        self.layout.membership.write_bytes(msgspec.json.encode(self.membership()))

    def membership(self) -> Membership:
        """Give a membership in which the master is the only candidate."""
        return Membership(
            cluster_name="cluster.example.com",
            cluster_uuid="cluster",
            node_uuid=NODE_UUID,
            node_name=NAME,
            position=START,
            candidates={MASTER_UUID: certificates.digest(self.master.certificate)},
        )

    def command(self, *arguments: str, foreground: bool = True) -> list[str]:
        """Give the command line of the daemon."""
        pid_file = self.layout.run / "gnt-noded.pid"
        self.layout.run.mkdir(parents=True, exist_ok=True)
        nodaemon = ["--nodaemon"] if foreground else []
        own = ["gnt-noded", "-b", "127.0.0.1", "-p", str(self.port)]
        return [*TWISTD, *nodaemon, f"--pidfile={pid_file}", "--umask=077", "--rundir=/", *own, *arguments]

    def environ(self) -> dict[str, str]:
        """Give its environment."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(HERE),
            "GNT_ROOTDIR": str(self.layout.root),
            "NOTIFY_SOCKET": str(self.notify),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a daemon that is expected to end by itself."""
        return subprocess.run(
            self.command(*arguments), env=self.environ(), capture_output=True, text=True, timeout=60, check=False
        )


class DaemonTests(TestCase):
    """The daemon as a process of its own."""

    timeout = 90

    def setUp(self) -> None:
        """Make a node's tree."""
        directory = tempfile.TemporaryDirectory(prefix="gnt")
        self.addCleanup(directory.cleanup)
        self.node = NodeRoot(Path(directory.name) / "n1")
        self.addCleanup(self.node.channel.close)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it in the foreground, and wait until it says that it is ready."""
        daemon = subprocess.Popen(
            self.node.command(*arguments), env=self.node.environ(), stderr=subprocess.PIPE, text=True
        )

        def end() -> None:
            if daemon.poll() is None:
                daemon.kill()
            daemon.communicate()

        self.addCleanup(end)
        assert self.node.channel.recv(1000).startswith(b"READY=1"), daemon.poll()
        return daemon

    def link(self, identity: certificates.Identity) -> NodeLink:
        """Give a link to it."""
        directory = self.node.layout.root / f"client-{certificates.digest(identity.certificate)[:8]}"
        keys = cluster_keys.credentials(directory, identity, self.node.authority)
        tls = ClientTls(keys, (NODE_UUID,))
        source = random.Random(1)  # noqa: S311
        link = NodeLink("node1", NODE_UUID, "127.0.0.1", self.node.port, tls, clock=reactor, source=source)
        self.addCleanup(link.stop)
        link.start()
        return link

    def test_machine_that_is_no_node(self) -> None:
        """Exit code 5, and one line that says what to do."""
        done = self.node.run()
        assert done.returncode == 5
        assert len(done.stderr.splitlines()) == 1
        assert "server.pem is missing" in done.stderr

    def test_port_that_is_taken(self) -> None:
        """Exit code 1 before it detaches, and one line."""
        self.node.join()
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.node.port))
            other.listen()
            done = self.node.run()
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"gnt-noded: Cannot listen on 127.0.0.1 port {self.node.port}: Address already in use"
        ]

    def test_damaged_call_table(self) -> None:
        """It is named, left alone, and the daemon does not start."""
        self.node.join()
        self.node.layout.calls_db.write_bytes(b"damaged" * 1000)
        done = self.node.run()
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "calls.db" in done.stderr
        assert self.node.layout.calls_db.read_bytes() == b"damaged" * 1000

    def test_unknown_option_is_named(self) -> None:
        """Options that we do not have are refused, not ignored."""
        self.node.join()
        done = self.node.run("--no-ssl")
        assert done.returncode == 1
        assert "no-ssl" in done.stdout + done.stderr

    async def test_serves_and_ends_in_order(self) -> None:
        """Ready; a candidate's change is done, another node's is refused; SIGTERM leaves nothing open."""
        self.node.join()
        daemon = await deferToThread(self.start)
        master = self.link(self.node.master)
        await master.when_connected()
        version = (await master.call(_request(Version()))).result(Version())
        assert (version.name, version.uuid) == (NAME, NODE_UUID)
        wait = Delay(seconds=0.01)
        await master.call(_request(wait))
        configure = Configure(membership=self.node.membership(), files={"master_node": "node2.example.com"})
        await master.call(_request(configure, name="2"))
        assert self.node.layout.ssconf("master_node").read_text() == "node2.example.com\n"

        stranger = self.link(cluster_keys.node(self.node.authority, "node3.example.com", "node3"))
        await stranger.when_connected()
        await stranger.call(_request(Version()))
        try:
            await stranger.call(_request(wait, name="3"))
        except NodeFailure as refusal:
            assert refusal.code == "not_allowed"  # noqa: PT017
        else:
            raise AssertionError("a node that is no candidate ordered a change")

        daemon.send_signal(signal.SIGTERM)
        await deferToThread(daemon.wait, 30)
        # twistd ends in order, and then with the signal that it was sent.
        assert daemon.returncode == -signal.SIGTERM
        assert self.node.channel.recv(1000) == b"STOPPING=1"
        assert not self.node.layout.pid_file("gnt-noded").exists()
        assert not list(self.node.layout.data.glob("*-wal"))

    async def test_ends_at_once_though_a_call_is_under_way(self) -> None:
        """Its work is ended, the caller hears how, it is on disk; a second signal leaves no traceback."""
        self.node.join()
        daemon = await deferToThread(self.start)
        master = self.link(self.node.master)
        await master.when_connected()
        asked = ensureDeferred(master.call(_request(Delay(seconds=600), deadline=700.0)))
        look = NodeVerify()
        while not (await master.call(_request(look, name="look"))).result(look).orphan_calls:
            await deferLater(reactor, 0.02)
        # Rows are written one after the other, so that of the long one is on disk after this.
        await master.call(_request(Delay(seconds=0), name="2"))
        daemon.send_signal(signal.SIGTERM)
        daemon.send_signal(signal.SIGTERM)
        try:
            await asked
        except NodeFailure as failure:
            assert failure.code == "aborted"  # noqa: PT017
        else:
            raise AssertionError("a wait of ten minutes has ended well")
        _, errors = await deferToThread(daemon.communicate, None, 30)
        assert daemon.returncode == -signal.SIGTERM
        assert "Traceback" not in errors
        assert self._recorded() == ["failed", "done"]

    def _recorded(self) -> list[str]:
        """Give the states of the calls on disk."""
        with contextlib.closing(sqlite3.connect(self.node.layout.calls_db)) as table:
            return [state for (state,) in table.execute("SELECT state FROM calls ORDER BY id")]

    async def test_leaves_its_cluster(self) -> None:
        """The answer arrives; then the daemon ends by itself, and no key is left, libvirt's copies neither."""
        self.node.join()
        daemon = await deferToThread(self.start)
        copies = self.node.layout.etc / "pki"
        assert (copies / "serverkey.pem").exists()
        master = self.link(self.node.master)
        await master.when_connected()
        answer = await master.call(_request(LeaveCluster()))
        assert answer.result(LeaveCluster()) is None
        await deferToThread(daemon.wait, 30)
        assert daemon.returncode == 0
        assert list(self.node.layout.data.iterdir()) == []
        assert list(copies.iterdir()) == []
        assert "Traceback" not in (self.node.layout.log / "node-daemon.log").read_text()

    async def test_log_lines_have_the_form_that_people_know(self) -> None:
        """Date, time, program, process, level, message; the file is not for everybody."""
        self.node.join()
        daemon = await deferToThread(self.start)
        daemon.terminate()
        await deferToThread(daemon.wait, 30)
        path = self.node.layout.log / "node-daemon.log"
        lines = path.read_text().splitlines()
        form = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: gnt-noded pid=\d+ [A-Z]+ .+")
        assert lines
        assert [line for line in lines if not form.fullmatch(line)] == []
        assert path.stat().st_mode & 0o007 == 0

    async def test_detaches(self) -> None:
        """Without `-n` the command returns when the daemon is up, and leaves a pid file; nothing is printed."""
        self.node.join()
        done = await deferToThread(
            subprocess.run,
            self.node.command(foreground=False),
            env=self.node.environ(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        pid = int(self.node.layout.pid_file("gnt-noded").read_text())
        self.addCleanup(_kill, pid)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (await deferToThread(self.node.channel.recv, 1000)).startswith(b"READY=1")
        os.kill(pid, signal.SIGTERM)
        assert await deferToThread(self.node.channel.recv, 1000) == b"STOPPING=1"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _request(call: NodeCall[Any], *, name: str = "1", deadline: float = 30.0) -> Request:
    return Request(id=name, epoch=Epoch(number=1, node=MASTER_UUID), deadline=deadline, call=call)
