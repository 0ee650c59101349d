"""The cluster's address on a node: raised once, taken down, never where it answers elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.model.epoch import Epoch
from gnt.model.errors import Failed, NodeFailure
from gnt.model.layout import Layout
from gnt.noded.master_address import MasterAddress
from gnt.noded.mastering import Mastering
from gnt.wire.calls import ActivateMasterIp, DeactivateMasterIp, StopMaster
from tests.noded.places import ask, place_below, refused

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]
ADDRESS: dict[str, Any] = {"ip": "198.51.100.7", "netmask": 32, "netdev": "eth0"}
MINE, THEIRS = Epoch(number=3, node="me"), Epoch(number=4, node="them")


class Host:
    """A machine with one interface; `ip` does what it is told, `elsewhere` are addresses that answer in the network."""

    def __init__(self, root: Path) -> None:
        self.addresses = {"192.0.2.1": "eth0"}
        self.elsewhere: set[str] = set()
        self.ran: list[str] = []
        self.failing = ""
        self.masters = 2
        self.stopped = 0
        self.layout = Layout(root)
        self.layout.run.mkdir(parents=True)
        self.address = MasterAddress(self.layout, self.reach, self.run)
        self.part = Mastering(
            place_below(root), address=self.address, stop_master=self.stop_master, own_uuid=lambda: "me"
        )

    async def reach(self, address: str, port: int, source: str) -> bool:
        """Say whether somebody answers."""
        return address in self.elsewhere

    def run(self, words: Sequence[str]) -> tuple[int, str]:
        """Do what ip(8) does."""
        line = " ".join(words)
        if line == "ip -o address show":
            return 0, "\n".join(
                f"{n}: {dev}    inet {ip}/24 scope global {dev}" for n, (ip, dev) in enumerate(self.addresses.items())
            )
        self.ran.append(line)
        if self.failing:
            return 2, self.failing
        if words[:3] == ["ip", "address", "add"]:
            self.addresses[words[3].partition("/")[0]] = words[5]
        elif words[:3] == ["ip", "address", "del"]:
            del self.addresses[words[3].partition("/")[0]]
        return 0, ""

    def stop_master(self) -> bool:
        """End a master, if there is one."""
        if self.masters > 9:
            raise Failed("gnt-masterd does not end")
        self.stopped += 1
        return self.masters > 0

    def done(self, call: Any) -> Any:
        """Have a call carried out."""
        return ask(self.part, call)

    def failed(self, call: Any) -> NodeFailure:
        """Have a call fail."""
        return refused(self.part, call)

    def fenced(self, epoch: Epoch) -> None:
        """Hear of a fence."""
        _trial.successResultOf(Deferred.fromCoroutine(self.part.fenced(epoch)))


def test_it_is_raised_once_and_taken_down(tmp_path: Path) -> None:
    """With a label, and never as the source of the node's own connections; both may be repeated."""
    host = Host(tmp_path)
    host.done(ActivateMasterIp(**ADDRESS))
    host.done(ActivateMasterIp(**ADDRESS))
    raised = [line for line in host.ran if line.startswith("ip")]
    assert raised == ["ip address add 198.51.100.7/32 dev eth0 label eth0:0 preferred_lft 0"]
    assert host.addresses["198.51.100.7"] == "eth0"
    host.done(DeactivateMasterIp(**ADDRESS))
    host.done(DeactivateMasterIp(**ADDRESS))
    assert "198.51.100.7" not in host.addresses
    assert not host.layout.master_address.exists()


def test_it_is_not_raised_while_it_answers_elsewhere(tmp_path: Path) -> None:
    """Whoever has it is to let go of it first."""
    host = Host(tmp_path)
    host.elsewhere = {"198.51.100.7"}
    error = host.failed(ActivateMasterIp(**ADDRESS))
    assert (error.code, error.retry, host.ran) == ("in_use", True, [])
    host.elsewhere = set()
    host.done(ActivateMasterIp(**ADDRESS))


def test_a_fence_for_another_master_takes_it_down(tmp_path: Path) -> None:
    """One for this node's own next term does not; nor does a fence touch what this node has not raised."""
    host = Host(tmp_path)
    host.addresses["198.51.100.7"] = "eth0"
    host.fenced(THEIRS)
    assert "198.51.100.7" in host.addresses
    host.done(ActivateMasterIp(**ADDRESS))
    host.fenced(MINE)
    assert "198.51.100.7" in host.addresses
    host.fenced(THEIRS)
    assert "198.51.100.7" not in host.addresses


def test_a_fence_for_another_master_ends_the_one_that_is_here(tmp_path: Path) -> None:
    """One for this node's own next term does not; a daemon that does not end keeps no fence from its end."""
    host = Host(tmp_path)
    host.fenced(MINE)
    assert host.stopped == 0
    host.fenced(THEIRS)
    assert host.stopped == 1
    host.masters = 10
    host.fenced(THEIRS)


def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    """With the program's own words; a fence is not kept from its end by it."""
    host = Host(tmp_path)
    host.failing = "RTNETLINK answers: Operation not permitted"
    assert "Operation not permitted" in host.failed(ActivateMasterIp(**ADDRESS)).text
    host.failing = ""
    host.done(ActivateMasterIp(**ADDRESS))
    assert "is on eth0, not on eth1" in host.failed(DeactivateMasterIp(**{**ADDRESS, "netdev": "eth1"})).text
    host.failing = "no"
    host.fenced(THEIRS)


def test_an_address_of_the_loopback_is_left_alone(tmp_path: Path) -> None:
    """Clusters for tests live there, and it is everywhere."""
    host = Host(tmp_path)
    host.done(ActivateMasterIp(ip="127.0.9.9", netmask=32, netdev="lo"))
    host.done(DeactivateMasterIp(ip="127.0.9.9", netmask=32, netdev="lo"))
    assert host.ran == []


def test_a_master_hands_over(tmp_path: Path) -> None:
    """Its daemons are ended; whether any ran is said."""
    host = Host(tmp_path)
    assert host.done(StopMaster()) is True
    host.masters = 0
    assert host.done(StopMaster()) is False
    host.masters = 10
    assert "does not end" in host.failed(StopMaster()).text


_IN_A_NAMESPACE = """
import sys
from pathlib import Path
from gnt.model.layout import Layout
from gnt.noded.master_address import MasterAddress, run_program
layout = Layout(Path(sys.argv[1]))
layout.run.mkdir(parents=True)
status, said = run_program(["ip", "link", "set", "lo", "up"])
if status:
    print("cannot", said)
    sys.exit(0)
address = MasterAddress(layout, None)
print(address.is_here("198.51.100.7"))
address.put_up("198.51.100.7", 32, "lo")
print(address.is_here("198.51.100.7"), "lo:0" in run_program(["ip", "address", "show"])[1])
address.take_down_ours()
print(address.is_here("198.51.100.7"))
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root for a network namespace")
def test_the_real_program_in_a_network_of_its_own(tmp_path: Path) -> None:
    """On the loopback of that network, which is nobody else's."""
    ran = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", _IN_A_NAMESPACE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if ran.returncode and "unshare" in ran.stderr:
        pytest.skip("this machine gives no network namespaces")
    assert ran.returncode == 0, ran.stderr
    if ran.stdout.startswith("cannot"):
        pytest.skip("this machine's namespaces have no loopback")
    assert ran.stdout == "False\nTrue True\nFalse\n"
