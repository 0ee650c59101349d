"""The programs as the commands run them: one JSON object in, JSON lines out, never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.bootstrap.world import machine

HERE = Path(__file__).parents[2]


def start(root: Path, verb: str) -> subprocess.Popen[bytes]:
    """Start a program on a plain machine."""
    environ = {**os.environ, "GNT_ROOTDIR": str(root), "GNT_HOSTNAME": "node1", "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "gnt.bootstrap", verb]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environ)


def talk(root: Path, verb: str, request: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Run a program; gives exit status and messages. Nothing may stand on standard error."""
    program = start(root, verb)
    out, complaints = program.communicate(request, timeout=60)
    assert complaints == b""
    return program.returncode, [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("verb", ["init", "join", "add", "token", "leave"])
@pytest.mark.parametrize("request_", [b"", b"[]", b"{", b'{"nonsense": 1}', b"\xff", b"[" * 100000])
def test_a_bad_request_is_one_line(tmp_path: Path, verb: str, request_: bytes) -> None:
    """What is no request is refused by every program in one line."""
    machine(tmp_path / "node1")
    status, messages = talk(tmp_path / "node1", verb, request_)
    assert status == 1
    assert messages[-1]["error"]["code"] == "wrong_input"
    assert "\n" not in messages[-1]["error"]["text"]


def test_a_disk_that_cannot_be_written_is_one_line() -> None:
    """What the system refuses is named with its file, and nothing is left."""
    with tempfile.TemporaryDirectory(prefix="gnt-") as root:  # short: socket paths have a limit
        layout = machine(Path(root))
        layout.etc.write_text("in the way")
        request = json.dumps({"cluster_name": "demo", "enabled_hypervisors": ["fake"]}).encode()
        status, messages = talk(layout.root, "init", request)
        assert status == 1
        assert str(layout.etc) in messages[-1]["error"]["text"]
        assert not layout.data.exists()


def test_a_token_is_not_repeated(tmp_path: Path) -> None:
    """A request that is wrong elsewhere does not bring its token into the error."""
    machine(tmp_path / "node1")
    _, messages = talk(tmp_path / "node1", "join", b'{"token": "SECRETSECRET", "readd": 7}')
    assert "SECRETSECRET" not in json.dumps(messages)


def test_an_unknown_verb_is_refused(tmp_path: Path) -> None:
    """The usage names the verbs."""
    program = start(tmp_path, "dance")
    _, complaint = program.communicate(b"", timeout=60)
    assert program.returncode == 2
    assert b"init|leave|join|add|token" in complaint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted, a program says so and ends; it waits for its request here."""
    machine(tmp_path / "node1")
    program = start(tmp_path / "node1", "init")
    while not _handles(program.pid, number):
        assert program.poll() is None
    program.send_signal(number)
    out, complaints = program.communicate(timeout=60)
    assert complaints == b""
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert program.returncode == 1


def _handles(pid: int, number: signal.Signals) -> bool:
    """Say whether a process has a handler of ours for the last of the signals."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = int(next(line.split()[1] for line in lines if line.startswith("SigCgt:")), 16)
    return all(caught & 1 << (one - 1) for one in (number, signal.SIGHUP))
