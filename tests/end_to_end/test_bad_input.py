"""What is wrong is refused in one clear line, with the right status, nothing changes, and the daemons serve on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gnt.bootstrap.daemons import MASTERD, NODED, RAPI
from gnt.model.errors import GntError
from tests.live import Live, init, trees, wait_until

DISKLESS = ("-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")
FILE = ("-t", "sharedfile", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy", "-n", "node1")


@pytest.fixture(autouse=True)
def nothing_happens(live: Live) -> Iterator[None]:
    """See that the same cluster with the same daemons is there after each test, and answers."""
    before = state(live)
    yield
    assert state(live) == before
    live.command("node1", "gnt-debug", "delay", "0.001")


def state(live: Live) -> dict[str, Any]:
    """Give what must not change: objects, daemons, disks."""
    fields = ("name", "uuid", "serial_no", "mtime")
    return {
        "instances": live.luxi("Query", "instance", [*fields, "admin_state", "pnode"], None)["data"],
        "nodes": live.luxi("Query", "node", [*fields, "role"], None)["data"],
        "daemons": {name: live.pid("node1", name) for name in (NODED, MASTERD, RAPI)},
        "other": {name: live.pid(name, NODED) for name in ("node2", "node3")},
        "disks": sorted(str(path) for path in live.base.glob("node*/srv/ganeti/*file-storage/**/*")),
    }


@pytest.fixture(scope="module", autouse=True)
def web1(live: Live) -> None:
    """Make one instance."""
    live.command("node1", "gnt-instance", "add", *DISKLESS, "-n", "node1", "web1")


COMMANDS: dict[str, tuple[Any, ...]] = {
    "unknown node": (("gnt-instance", "add", *DISKLESS, "-n", "node9", "new1"), "node9"),
    "unknown OS": (
        (
            "gnt-instance",
            "add",
            "-t",
            "diskless",
            "-o",
            "plan9",
            "--no-nics",
            "--ignore-ipolicy",
            "-n",
            "node1",
            "new1",
        ),
        "plan9",
    ),
    "unknown hypervisor": (("gnt-instance", "add", *DISKLESS, "-n", "node1", "-H", "bochs", "new1"), "bochs"),
    "hypervisor that is not enabled": (("gnt-instance", "add", *DISKLESS, "-n", "node1", "-H", "kvm", "new1"), "kvm"),
    "unknown hypervisor parameter": (
        ("gnt-instance", "add", *DISKLESS, "-n", "node1", "-H", "fake:colour=red", "new1"),
        "colour",
    ),
    "unknown backend parameter": (
        ("gnt-instance", "add", *DISKLESS, "-n", "node1", "-B", "colour=red", "new1"),
        "colour",
    ),
    "unknown disk parameter": (("gnt-instance", "add", *FILE, "--disk", "0:size=1g,colour=red", "new1"), "colour"),
    "unknown template": (
        ("gnt-instance", "add", "-t", "tape", "--no-install", "-o", "none", "--no-nics", "-n", "node1", "new1"),
        "tape",
        2,
    ),
    "template that is not enabled": (
        (
            "gnt-instance",
            "add",
            "-t",
            "plain",
            "--no-install",
            "-o",
            "none",
            "--disk",
            "0:size=1g",
            "-n",
            "node1",
            "x1",
        ),
        "plain",
    ),
    "disk of 0": (("gnt-instance", "add", *FILE, "--disk", "0:size=0", "new1"), "size"),
    "disk of 1 EiB": (("gnt-instance", "add", *FILE, "--disk", f"0:size={1 << 40}m", "new1"), "size"),
    "disk below nothing": (("gnt-instance", "add", *FILE, "--disk", "0:size=-1g", "new1"), "size"),
    "name that exists": (("gnt-instance", "add", *DISKLESS, "-n", "node1", "web1"), "web1"),
    "name with ../": (("gnt-instance", "add", *DISKLESS, "-n", "node1", "../web2"), "../web2"),
    "OS with ../": (
        (
            "gnt-instance",
            "add",
            "-t",
            "diskless",
            "-o",
            "../noop",
            "--no-nics",
            "--ignore-ipolicy",
            "-n",
            "node1",
            "x1",
        ),
        "../noop",
    ),
    "node with ../": (("gnt-instance", "add", *DISKLESS, "-n", "../node1", "new1"), "../node1"),
    "new node with ../": (("gnt-node", "add", "../node4"), "../node4"),
    "directory outside": (
        ("gnt-instance", "add", *FILE, "--disk", "0:size=1g", "--file-storage-dir", "/etc", "new1"),
        "/etc",
    ),
    "directory with ../": (
        ("gnt-instance", "add", *FILE, "--disk", "0:size=1g", "--file-storage-dir", "../../x", "new1"),
        "../../x",
    ),
    "adopted path outside": (("gnt-instance", "add", *FILE, "--disk", "0:adopt=/etc/passwd", "new1"), "adopt"),
    "unknown instance": (("gnt-instance", "startup", "web9"), "web9"),
    "node that is there": (("gnt-node", "add", "--token", "node2"), "node2"),
    "node that does not resolve": (("gnt-node", "add", "node77"), "node77"),
    "master removed": (("gnt-node", "remove", "node1"), "master"),
    "moving to where it is": (("gnt-instance", "migrate", "-f", "-n", "node1", "web1"), "web1"),
    "unknown job": (("gnt-job", "info", "999999"), "999999"),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_commands(live: Live, what: str) -> None:
    """One line on standard error that names what is wrong; exit status 1, or 2 for what no option takes."""
    (program, *arguments), name, *status = COMMANDS[what]
    assert name in live.refused(program, *arguments, status=status[0] if status else 1)


def test_unknown_commands_and_options_are_wrong_usage(live: Live) -> None:
    """Refused by name, with the status of a wrong call."""
    done = live.command("node1", "gnt-instance", "list", "--colour", check=False)
    assert done.returncode in (1, 2)
    assert "--colour" in done.stderr
    done = live.command("node1", "gnt-instance", "failover", "web1", check=False)
    assert done.returncode == 1
    assert "failover" in done.stdout + done.stderr


# LUXI


def luxi(live: Live, data: bytes) -> dict[str, Any]:
    """Send a message of LUXI and decode the answer."""
    answer = live.luxi_raw(data + b"\x03")
    assert answer.endswith(b"\x03"), answer
    decoded: dict[str, Any] = json.loads(answer[:-1])
    return decoded


CREATE = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "instance_name": "new1",
    "mode": "create",
    "disk_template": "diskless",
    "disks": [],
    "nics": [],
    "no_install": True,
    "os_type": "none",
    "pnode": "node1",
}

OPCODES = {
    "disk of the wrong type": ({**CREATE, "disk_template": "sharedfile", "disks": [{"size": "much"}]}, "size"),
    "name of the wrong type": ({**CREATE, "instance_name": 7}, "instance_name"),
    "unknown field": ({**CREATE, "colour": "red"}, "colour"),
    "unknown opcode": ({"OP_ID": "OP_INSTANCE_PAINT"}, "PAINT"),
    "opcode of a later version": ({"OP_ID": "OP_INSTANCE_RENAME", "instance_name": "a", "new_name": "b"}, "RENAME"),
    "no opcode": ("create", "$[0][0]"),
}


@pytest.mark.parametrize("what", OPCODES)
def test_opcodes_over_luxi(live: Live, what: str) -> None:
    """The path of the fault is named, or the job ends in an error that names it."""
    opcode, name = OPCODES[what]
    answer = luxi(live, json.dumps({"method": "SubmitJob", "args": [[opcode]]}).encode())
    if answer["success"]:
        answer = live.job(answer["result"])
        assert answer["status"] == "error"
    assert name in str(answer)
    assert "Traceback" not in str(answer)


@pytest.mark.parametrize(
    "message",
    [
        b"not JSON",
        b"[1, 2]",
        b'{"method": 7, "args": []}',
        b'{"method": "Paint", "args": []}',
        b'{"method": "SubmitJob", "args": 7}',
        b'{"method": "SubmitJob", "args": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'{"method": "Query", "args": ["instance", ["name"], ' + b'["!", ' * 5000 + b"null" + b"]" * 5000 + b"]}",
        b"\xff\xfe\x00",
    ],
    ids=["text", "list", "method", "unknown", "arguments", "deep", "deep filter", "bytes"],
)
def test_messages_of_luxi(live: Live, message: bytes) -> None:
    """An error as data; the daemon goes on."""
    answer = luxi(live, message)
    assert answer["success"] is False
    assert "Traceback" not in str(answer)


def test_a_message_that_is_too_large(live: Live) -> None:
    """It is not even kept; the connection ends with an error or at once."""
    answer = live.luxi_raw(b'{"method": "SubmitJob", "args": ["' + b"x" * (17 << 20) + b'"]}\x03')
    assert not answer or b'"success":false' in answer.replace(b" ", b"")


# The remote API


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"not JSON", 400),
        (b'"text"', 400),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (json.dumps({**CREATE, "__version__": 1, "disks": [{"size": "much"}]}).encode(), 400),
        (json.dumps({**CREATE, "__version__": 1, "colour": "red"}).encode(), 400),
        (json.dumps({**CREATE, "__version__": 9}).encode(), 400),
        (b'{"instance_name": "' + b"x" * (2 << 20) + b'"}', 413),
    ],
    ids=["text", "string", "deep", "wrong type", "unknown field", "version", "large"],
)
def test_bodies_of_the_remote_api(live: Live, raw: bytes, code: int) -> None:
    """The HTTP code says it, and the answer is JSON that explains."""
    found, answer = live.rapi("/2/instances", "POST", raw=raw)
    assert found == code, answer
    assert answer["code"] == code
    assert answer["explain"]
    assert "Traceback" not in str(answer)


def test_paths_of_the_remote_api(live: Live) -> None:
    """What is not there is 404, what cannot be done 405 or 501."""
    assert live.rapi("/2/instances/web9")[0] == 404
    assert live.rapi("/2/instances/..%2F..%2Fetc%2Fpasswd")[0] == 404
    assert live.rapi("/2/paint")[0] == 404
    assert live.rapi("/2/jobs/999999")[0] == 404
    assert live.rapi("/version", "DELETE")[0] in (405, 501)


# The node daemon


def talk(live: Live, data: bytes, *, tls: bool) -> bytes:
    """Say something to node2's daemon and give what it says until it closes."""
    with socket.create_connection((live.address("node2"), 1811), timeout=30) as plain:
        connection: socket.socket = plain
        if tls:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust.check_hostname = False
            trust.verify_mode = ssl.CERT_NONE
            pem = live.layout("node1").node_pem
            trust.load_cert_chain(pem, pem)
            connection = trust.wrap_socket(plain)
        said = b""
        try:
            # The daemon may hang up while we still speak.
            connection.sendall(data)
            while more := connection.recv(65536):
                said += more
                if len(said) > 1 << 20:
                    break
        except (ConnectionResetError, BrokenPipeError, TimeoutError, ssl.SSLError):
            pass
        return said


@pytest.mark.parametrize("tls", [False, True], ids=["without TLS", "with a certificate"])
def test_a_peer_that_speaks_garbage(live: Live, tls: bool) -> None:
    """The connection ends, and the log holds a line of it, no traceback."""
    said = talk(live, b"\xff" * 100_000, tls=tls)
    assert len(said) < 1 << 16
    assert "Traceback" not in live.log("node2", NODED)


def test_a_peer_with_a_number_that_is_too_large(live: Live) -> None:
    """A list of 2**63 elements is not waited for."""
    talk(live, struct.pack(">9B", *[0x7F] * 9) + b"\x80", tls=True)
    assert "Traceback" not in live.log("node2", NODED)


def test_a_peer_that_says_nothing(live: Live) -> None:
    """Many of them keep nobody from working."""
    silent = [socket.create_connection((live.address("node2"), 1811), timeout=30) for _ in range(50)]
    try:
        live.command("node1", "gnt-debug", "delay", "-n", "node2", "--no-master", "0.01")
    finally:
        for connection in silent:
            connection.close()


def test_a_peer_without_a_certificate(live: Live) -> None:
    """The handshake fails; nothing of the protocol is said."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    with socket.create_connection((live.address("node2"), 1811), timeout=30) as plain:
        # In TLS 1.3 a client learns only when it reads that its missing certificate was refused.
        said = b""
        with suppress(ssl.SSLError, ConnectionResetError):
            said = trust.wrap_socket(plain).recv(1024)
        assert said == b""


# Starting where something is wrong


def test_a_store_of_another_version() -> None:
    """The master daemon does not touch it, and says which version it is."""
    with trees(1) as alone:
        init(alone)
        alone.kill("node1", RAPI)
        for daemon in (MASTERD, NODED):
            alone.kill("node1", daemon, 15)
        path = alone.layout("node1").config_db
        with sqlite3.connect(path) as store:
            store.execute("UPDATE state SET version = 4711")
        store.close()
        content = path.read_bytes()
        alone.daemons("node1").start(NODED)
        with pytest.raises(GntError, match="4711"):
            alone.start("node1", MASTERD)
        assert "Traceback" not in alone.log("node1", MASTERD) + alone.log("node1", NODED)
        assert path.read_bytes() == content


def test_a_data_directory_of_another_program() -> None:
    """Init refuses before it writes anything."""
    with trees(1) as alone:
        data = alone.layout("node1").data
        data.mkdir(parents=True)
        (data / "config.data").write_text('{"cluster": {}}')
        before = files(alone.base)
        done = init(alone, check=False)
        assert done.returncode == 1
        assert "another program" in done.stderr
        assert len([line for line in done.stderr.splitlines() if not line.startswith("  ")]) == 1
        assert files(alone.base) == before


def test_a_machine_whose_own_ganeti_is_enabled() -> None:
    """Init refuses and names the unit."""
    with trees(1) as alone:
        units = alone.root("node1") / "etc/systemd/system"
        wants = units / "multi-user.target.wants"
        wants.mkdir(parents=True)
        (units / "ganeti.service").write_text("[Unit]\n")
        (wants / "ganeti.service").symlink_to("../ganeti.service")
        before = files(alone.base)
        done = init(alone, check=False)
        assert done.returncode == 1
        assert "ganeti.service" in done.stderr
        assert files(alone.base) == before


def files(base: Path) -> list[str]:
    """Give all files below a directory, without what a refused command leaves: its line in the commands' log."""
    return sorted(str(path) for path in base.rglob("*") if path.is_file() and path.name != "commands.log")


def test_a_root_whose_sockets_would_have_too_long_names() -> None:
    """Refused in words, before anything is made."""
    with trees(1) as alone:
        long = alone.base / ("x" * 90)
        shutil.copytree(alone.root("node1"), long)
        done = subprocess.run(
            ["gnt-cluster", "init", "--enabled-hypervisors", "fake", "--master-netdev", "lo", "cluster"],
            env={**alone.environ("node1"), "GNT_ROOTDIR": str(long)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert "GNT_ROOTDIR" in done.stderr
        assert "Traceback" not in done.stderr


def fill_up(path: Path) -> None:
    """Write zeros until there is no space left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system that is then filled")
def test_a_disk_that_is_full() -> None:
    """Changes are refused in words, reading goes on; with space again, so do changes."""
    with trees(1) as alone:
        data = alone.layout("node1").data
        data.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "gnt-test", data], check=True)
        try:
            init(alone)
            fill_up(data / "fill")
            large = {"OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": False, "comment": "x" * 400_000}
            with pytest.raises(GntError, match="the disk is full"):
                all(alone.luxi("SubmitJob", [large]) for _ in range(100))  # the log's room is used up first
            known = alone.command("node1", "gnt-instance", "list", "--no-headers").stdout
            (data / "fill").unlink()

            def serves() -> bool:
                add = ("gnt-instance", "add", *DISKLESS, "-n", "node1", "again1")
                return alone.command("node1", *add, check=False).returncode == 0

            wait_until(serves, "with space again, nothing can be changed")
            assert "again1" in alone.command("node1", "gnt-instance", "list").stdout
            assert len(known.splitlines()) <= 60
            for daemon in (MASTERD, NODED):
                assert "Traceback" not in alone.log("node1", daemon)
                alone.kill("node1", daemon, 15)
            alone.kill("node1", RAPI, 15)
        finally:
            subprocess.run(["umount", "--lazy", data], check=True)
