"""Adding a node from the master: SSH carries the token on standard input, or a person does."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnt.bootstrap.add import AddCommand, NodeAdd, Offer
from gnt.model.errors import GntError, Refused
from gnt.model.layout import Layout
from gnt.wire.luxi import decode_request, encode_failure, encode_response
from gnt.wire.luxi_frames import FrameSplitter

TOKEN = "CQFAAAAB-SECRET77"


class MasterDaemon(threading.Thread):
    """Answers the three methods about tokens, and remembers what was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.asked: list[tuple[str, list[Any]]] = []
        self.refusal: GntError | None = None
        self.fates = [{"state": "joined", "uuid": "u-2", "digest": "d-2", "tries": 0, "problem": ""}]
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()

    def run(self) -> None:
        """Serve one client."""
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return  # closed before anybody came
        splitter = FrameSplitter()
        with connection:
            while data := connection.recv(65536):
                for frame in splitter.feed(data):
                    connection.sendall(self._answer(frame))

    def _answer(self, frame: bytes) -> bytes:
        request = decode_request(frame)
        self.asked.append((request.method, request.args))
        if request.method == "OfferToken":
            if self.refusal is not None:
                return encode_failure(self.refusal)
            offer = {"id": "t-1", "token": TOKEN, "address": "10.0.0.2", "ssh_port": 2222, "ends": 1.0}
            return encode_response({**offer, "name": "node2", "uuid": "u-2", "addresses": [], "port": 1816})
        if request.method == "WaitForToken":
            return encode_response(self.fates.pop(0) if len(self.fates) > 1 else self.fates[0])
        return encode_response(self.fates[0])

    def close(self) -> None:
        """End."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.join(10)


class World:
    """A master, and a program that stands for ssh."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.socket_directory.mkdir(parents=True)
        self.master = MasterDaemon(self.layout.master_socket)
        self.master.start()
        self.said: list[str] = []
        self.root = root

    def ssh(self, script: str) -> None:
        """Have this script stand for ssh."""
        path = self.root / "ssh"
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {self.root}/arguments\n{script}\n')
        path.chmod(0o755)

    def add(self, *, show: Any = None, terminal: bool = False, **options: Any) -> dict[str, Any]:
        """Add node2."""
        environ = {"PATH": "/usr/bin:/bin", "GNT_SSH": str(self.root / "ssh")}
        command = AddCommand(node="node2", **options)
        return NodeAdd(command, self.layout, environ, self.said.append, show=show, terminal=terminal).run()

    def arguments(self) -> list[str]:
        """Give what ssh was called with."""
        return (self.root / "arguments").read_text().splitlines()


@pytest.fixture
def world() -> Iterator[World]:
    """Give a master; its directory has a short name, for the socket."""
    root = Path(tempfile.mkdtemp(prefix="gnt-add-"))
    made = World(root)
    yield made
    made.master.close()
    shutil.rmtree(root)


def test_the_token_goes_by_standard_input_alone(world: World) -> None:
    """The remote command reads the token; no argument, no environment and nothing that is said holds it."""
    world.ssh(f'cat > {world.root}/input; env > {world.root}/environment; echo "* starting"')
    assert world.add() == {"node": "node2", "uuid": "u-2", "digest": "d-2"}
    assert (world.root / "input").read_text() == f"{TOKEN}\n"
    assert world.arguments()[-4:] == ["root@node2", "gnt-node", "join", "--readd"]
    assert TOKEN not in "".join([*world.arguments(), *world.said, (world.root / "environment").read_text()])
    assert "node2: * starting" in world.said
    assert TOKEN not in repr(Offer("t-1", TOKEN, "10.0.0.2", 22, 1.0))


def test_what_the_other_machine_repeats_of_the_token_is_not_said(world: World) -> None:
    """A machine that echoes what it was given does not bring the token onto the screen or into a log."""
    world.ssh("cat; echo fine")
    world.add()
    assert world.said[1:] == ["node2: fine"]


@pytest.mark.parametrize(
    ("terminal", "check", "expected", "batch"),
    [(True, True, "ask", False), (False, True, "yes", True), (True, False, "no", False), (False, False, "no", True)],
)
def test_host_keys_are_checked_unless_that_was_refused(
    world: World, terminal: bool, check: bool, expected: str, batch: bool
) -> None:
    """A person is asked; without one only a known key passes; --no-ssh-key-check takes any."""
    world.ssh("cat >/dev/null")
    world.add(terminal=terminal, ssh_key_check=check)
    assert f"-oStrictHostKeyChecking={expected}" in world.arguments()
    assert ("-oBatchMode=yes" in world.arguments()) == batch
    assert {"-4", "-oPort=2222"} <= set(world.arguments())


def test_options_reach_the_master(world: World) -> None:
    """What the master must know to make the token is asked for; a port among the node's parameters wins."""
    world.ssh("cat >/dev/null")
    world.add(readd=True, secondary_ip="10.1.0.2", group="g", ndparams={"ssh_port": 99}, vm_capable=False)
    options = {"readd": True, "secondary_ip": "10.1.0.2", "group": "g"}
    assert world.master.asked[0] == ("OfferToken", ["node2", options])
    assert "-oPort=99" in world.arguments()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 'ssh: connect to host node2: No route to host' >&2; exit 255", "cannot be reached over SSH: ssh: conn"),
        ("exit 255", "ssh does not say why"),
        ("echo 'sh: gnt-node: not found' >&2; exit 127", "node2 has no command gnt-node"),
        ("cat >/dev/null; echo 'Failure: the disk is full' >&2; exit 1", "node2: Failure: the disk is full"),
        ("cat >/dev/null; exit 3", "exit status 3"),
        ("cat >/dev/null; kill -9 $$", "signal 9"),
        ("printf '\\377\\n' >&2; exit 1", "node2: \ufffd"),
    ],
)
def test_what_goes_wrong_over_ssh_is_one_line(world: World, script: str, text: str) -> None:
    """Each way to fail has its own words, and the token is withdrawn."""
    world.ssh(script)
    with pytest.raises(GntError) as failed:
        world.add()
    assert text in failed.value.text
    assert "\n" not in failed.value.text
    assert world.master.asked[-1] == ("WithdrawToken", ["t-1"])


def test_a_node_that_says_it_joined_is_not_believed(world: World) -> None:
    """What counts is what the master saw."""
    world.ssh("cat >/dev/null")
    world.master.fates = [{"state": "open", "uuid": "u-2", "digest": "", "tries": 0, "problem": ""}]
    with pytest.raises(GntError, match="node2 has not joined: open"):
        world.add()


def test_no_token_is_made_where_there_is_no_ssh(world: World) -> None:
    """A missing ssh program is named before the master opens a port."""
    with pytest.raises(Refused, match="no program"):
        world.add()
    assert world.master.asked == []


def test_the_masters_refusal_is_passed_on(world: World) -> None:
    """What the master refuses is refused here, and nothing is executed."""
    world.ssh("cat >/dev/null")
    world.master.refusal = Refused("already_exists", "Node node2 is already in the cluster")
    with pytest.raises(Refused, match="already in the cluster"):
        world.add()
    assert not (world.root / "arguments").exists()


def test_a_bad_name_never_reaches_a_command_line(world: World) -> None:
    """A name that could be an option or a path is refused."""
    world.ssh("exit 0")
    for name in ("-oProxyCommand=x", "../x", "a b"):
        command = AddCommand(node=name)
        with pytest.raises(Refused):
            NodeAdd(command, world.layout, os.environ, world.said.append, terminal=False).run()
    assert not (world.root / "arguments").exists()


def test_a_token_is_shown_and_waited_for(world: World) -> None:
    """The other way: the token is shown once, and the end of it is waited for, however many times that takes."""
    waiting = {"state": "open", "uuid": "u-2", "digest": "", "tries": 0, "problem": ""}
    world.master.fates = [waiting, {**waiting, "state": "joining"}, *world.master.fates]
    shown: list[str] = []
    assert world.add(show=shown.append)["digest"] == "d-2"
    assert shown == [TOKEN]
    assert [method for method, _ in world.master.asked].count("WaitForToken") == 3


def test_the_end_of_a_token_is_told(world: World) -> None:
    """A token that expired is an error with the master's words."""
    fate = {"state": "expired", "uuid": "u-2", "digest": "", "tries": 0, "problem": "the token for node2 has expired"}
    world.master.fates = [fate]
    with pytest.raises(GntError, match="node2 has not joined: the token for node2 has expired"):
        world.add(show=lambda _: None)


def test_an_interrupt_withdraws_the_token(world: World) -> None:
    """Who stops waiting leaves no token behind."""

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.add(show=interrupted)
    assert world.master.asked[-1] == ("WithdrawToken", ["t-1"])
