"""`twistd gnt-rapi`: options, refusals with their exit codes, start and end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from gnt.model.layout import Layout
from gnt.rapi.tap import Options
from gnt.wire import certificates
from tests.live import free_prefix
from tests.wire import cluster_keys

CHECKOUT = Path(__file__).resolve().parents[2]
ADDRESS = f"{free_prefix()}.1"


class Place:
    """A node's tree, as far as the remote API looks at it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        for directory in (self.layout.data, self.layout.rapi_users.parent, root / "etc"):
            directory.mkdir(parents=True)
        authority = cluster_keys.authority("demo")
        cluster_keys.credentials(
            self.layout.data, cluster_keys.node(authority, "node1", cluster_keys.NODE_UUID), authority
        )
        rapi = certificates.make_rapi(
            authority, cluster_name="demo", names=[], addresses=[ADDRESS], now=time.time(), source=cluster_keys.SOURCE
        )
        certificates.save_identity(self.layout.rapi_pem, rapi)
        self.layout.ssconf("master_node").write_text("node1\n")
        (root / "etc/hosts").write_text(f"{ADDRESS} node1\n")

    def environ(self, **more: str) -> dict[str, str]:
        """Give the daemon's environment."""
        return {**os.environ, "GNT_ROOTDIR": str(self.layout.root), "GNT_HOSTNAME": "node1", **more}

    def command(self, *arguments: str) -> list[str]:
        """Give the command that runs the daemon in the foreground."""
        run = "from twisted.scripts.twistd import run; run()"
        pid_file = self.layout.root / "pid"
        return [sys.executable, "-c", run, "-n", f"--pidfile={pid_file}", "gnt-rapi", *arguments]

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the daemon, which is expected to end; give its exit status and last line."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=CHECKOUT,
            env=self.environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give a fresh one."""
    return Place(tmp_path)


def test_refusals(place: Place) -> None:
    """Each with its exit code and one line that names the cause."""
    layout = place.layout
    layout.ssconf("master_node").write_text("node2\n")
    assert place.run() == (11, "gnt-rapi: node1 is not the master, node2 is")
    layout.ssconf("master_node").unlink()
    status, said = place.run()
    assert status == 12
    assert "ssconf_master_node" in said
    layout.ssconf("master_node").write_text("node1\n")
    layout.rapi_pem.unlink()
    status, said = place.run()
    assert status == 1
    assert str(layout.rapi_pem) in said
    assert "gnt-cluster init" in said
    layout.node_pem.unlink()
    status, said = place.run()
    assert status == 5
    assert "not a node of a cluster" in said


def test_a_port_that_is_taken(place: Place) -> None:
    """The exit code is seen, since the port is taken before the daemon detaches."""
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        status, said = place.run("-p", str(taken.getsockname()[1]))
    assert status == 1
    assert f"Cannot listen on {ADDRESS}" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["extra"],
        ["-p", "70000"],
        ["--max-clients", "0"],
        ["--max-clients", "many"],
        ["--open-reads", "--require-authentication"],
        ["--no-ssl", "-K", "x"],
        ["--syslog", "perhaps"],
        ["--nosuch"],
    ],
)
def test_options_that_are_wrong(arguments: list[str]) -> None:
    """They are refused."""
    with pytest.raises(UsageError):
        Options().parseOptions(arguments)


def test_options() -> None:
    """Defaults are the safe ones."""
    options = Options()
    options.parseOptions([])
    assert (options["port"], options["open-reads"], options["no-ssl"]) == (5080, 0, 0)


@pytest.fixture
def running(place: Place, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, socket.socket]]:
    """Start the daemon; give its process, its port, and the socket that systemd would listen on."""
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port = free.getsockname()[1]
    place.layout.rapi_users.write_text("demo secret write\n")
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(tmp_path / "notify"))
    notified.settimeout(60)
    process = subprocess.Popen(
        place.command("-p", str(port)),
        cwd=CHECKOUT,
        env=place.environ(NOTIFY_SOCKET=str(tmp_path / "notify")),
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    yield process, port, notified
    process.kill()
    process.communicate()
    notified.close()


def test_start_and_end(running: tuple[subprocess.Popen[str], int, socket.socket], place: Place) -> None:
    """Readiness is told when it serves; it ends in order, and its log says so without a secret."""
    process, port, notified = running
    assert notified.recv(1000).startswith(b"READY=1")
    context = ssl.create_default_context(cafile=str(place.layout.authority_certificate))
    connection = http.client.HTTPSConnection(ADDRESS, port, timeout=30, context=context)
    connection.request("GET", "/version")
    assert json.loads(connection.getresponse().read()) == 2
    connection.request("GET", "/2/info", headers={"Authorization": "Basic ZGVtbzpzZWNyZXQ="})
    assert json.loads(connection.getresponse().read())["code"] == 502
    process.send_signal(signal.SIGTERM)
    assert notified.recv(1000) == b"STOPPING=1"
    assert process.wait(30) in {0, -signal.SIGTERM}  # Twisted ends by the signal that it got
    connection.close()
    logs = place.layout.log
    assert '"GET /2/info HTTP/1.1" 502' in (logs / "rapi-access.log").read_text()
    daemon_log = (logs / "rapi-daemon.log").read_text()
    assert "the remote API is ready" in daemon_log
    assert "Traceback" not in daemon_log
    assert "secret" not in daemon_log
