"""The systemd units of packaging/: their command lines run in the foreground, say when they are ready, end in order."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest

from gnt.bootstrap.daemons import ALL, MASTERD, NODED, RAPI
from tests.live import BIN, Live, wait_until

UNITS = Path(__file__).resolve().parents[2] / "packaging/systemd"


def command_of(live: Live, node: str, daemon: str) -> list[str]:
    """Give the ExecStart of a unit as it reads for a node of this cluster."""
    unit = RawConfigParser(strict=False, comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # systemd's keys have capitals
    unit.read(UNITS / f"{daemon}.service")
    assert unit["Service"]["Type"] == "notify"
    line = unit["Service"]["ExecStart"]
    line = line.replace("/opt/gnt/bin", str(BIN)).replace("/run/ganeti", str(live.layout(node).run))
    return shlex.split(line)


@contextmanager
def supervised(live: Live, node: str, daemon: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Run a daemon as systemd does, with a socket that it tells its state to."""
    place = live.base / f"notify-{daemon}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as state:
        state.bind(str(place))
        state.settimeout(30)
        with subprocess.Popen(
            command_of(live, node, daemon),
            env={**live.environ(node), "NOTIFY_SOCKET": str(place)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as running:
            try:
                yield running, state
            finally:
                running.kill()
                running.wait()
                place.unlink()


@pytest.mark.parametrize("daemon", ALL)
def test_a_unit_says_when_it_is_ready_and_when_it_ends(live: Live, daemon: str) -> None:
    """READY comes when it serves, STOPPING after SIGTERM, and its end is the signal's: a clean one for systemd."""
    live.kill("node1", daemon, signal.SIGTERM)
    with supervised(live, "node1", daemon) as (running, state):
        assert state.recv(1000).startswith(b"READY=1")
        if daemon == MASTERD:
            assert live.luxi("QueryClusterInfo")["name"] == "cluster"
        if daemon == RAPI:
            assert live.rapi("/version", user="") == (200, 2)
        assert live.pid("node1", daemon) == running.pid
        running.send_signal(signal.SIGTERM)
        assert state.recv(1000).startswith(b"STOPPING=1")
        assert running.wait(30) in (0, -signal.SIGTERM)
    assert not live.layout("node1").pid_file(daemon).exists()
    live.start("node1", daemon)
    wait_until(lambda: live.command("node1", "gnt-cluster", "verify", check=False).returncode == 0, "verify")


@pytest.mark.parametrize("daemon", [MASTERD, RAPI])
def test_on_a_node_that_is_not_the_master(live: Live, daemon: str) -> None:
    """Status 11, which the unit takes as success, and one line that names the master."""
    assert "SuccessExitStatus=11" in (UNITS / f"{daemon}.service").read_text()
    with supervised(live, "node2", daemon) as (running, _):
        assert running.wait(30) == 11
        assert running.stderr is not None
        said = running.stderr.read().decode().splitlines()
    assert len(said) == 1
    assert "node1 is" in said[0]


def test_on_a_machine_that_is_no_node(live: Live) -> None:
    """Status 5, and the unit does not try again."""
    assert "RestartPreventExitStatus=5" in (UNITS / f"{NODED}.service").read_text()
    (live.root("node9") / "etc").mkdir(parents=True)
    with supervised(live, "node9", NODED) as (running, _):
        assert running.wait(30) == 5
        assert running.stderr is not None
        said = running.stderr.read().decode().splitlines()
    assert len(said) == 1
    assert "gnt-cluster init" in said[0]


def test_a_second_daemon_is_refused(live: Live) -> None:
    """Two of them on one node would be two hands on one store."""
    for daemon in ALL:
        before = live.pid("node1", daemon)
        with supervised(live, "node1", daemon) as (running, _):
            assert running.wait(30) not in (0, None)
        assert live.pid("node1", daemon) == before
    live.command("node1", "gnt-cluster", "verify")
