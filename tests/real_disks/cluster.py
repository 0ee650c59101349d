"""A cluster whose master is on the host and whose other nodes are user-mode-linux machines with real disks.

The nodes join while their machines boot: their trees are made on the host, under the addresses that the machines take
over afterwards (a Python there takes five times as long to begin as here).
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch
from gnt.store.reading import Reader
from gnt.wire.calls import NodeCall
from gnt.wire.envelope import Answer, Request, decode_answer, encode_request
from tests.live import Live, add_rapi_user, lay_out, wait_until
from tests.real_disks.machine import Machine
from tests.real_disks.room import HOST, MIRRORS, NETWORK, Room

R = TypeVar("R")

GROUP: Final = "xenvg"
START_TIME: Final = 180.0
ENOUGH_MEMORY: Final = 6 << 30
CALL_TIME: Final = 120.0
# A look at a machine, or a command, costs its processor more than what is waited for.
LOOK_EVERY: Final = 0.3
# A query that needs what nodes know has each of them look at its volume groups.
ASK_EVERY: Final = 1.5


@dataclass
class RealCluster(Live):
    """A cluster in a room; `machines` by the name of their node."""

    room: Room = field(default_factory=Room)
    machines: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patience = 300.0
        self._driver: _Driver | None = None

    def enter(self, node: str, argv: Sequence[str | Path]) -> list[str | Path]:
        """Give the command line that runs a program in the room."""
        return list(self.room.enter(argv))

    # Machines

    def start_noded(self, node: str) -> None:
        """Start the node daemon in a machine that was booted, and wait until it serves."""
        machine = self.machines[node]
        root = self.root(node)
        pid_file = f"{root}/var/run/ganeti/gnt-noded.pid"
        twistd = "from twisted.scripts.twistd import run; run()"
        machine.shell(f"mkdir -p {root}/var/run/ganeti; rm -f {pid_file}")
        machine.send(
            *(sys.executable, "-c", twistd, "-n", f"--pidfile={pid_file}", "--umask=077", "--rundir=/", "gnt-noded"),
            env={"GNT_ROOTDIR": str(root), "GNT_HOSTNAME": node},
        )

    def wait_for_noded(self, *nodes: str) -> None:
        """Wait until the master has a connection to node daemons."""

        def connected() -> bool:
            rows = self.luxi("QueryNodes", list(nodes), ["name", "bootid"], False)
            return all(boot for _, boot in rows)

        try:
            patience = max(self.machines[node].patience for node in nodes)
            wait_until(connected, f"the master does not reach {' '.join(nodes)}", START_TIME * patience, ASK_EVERY)
        except AssertionError as failure:
            seen = [f"{node}: {self.log(node, 'gnt-noded')[-1500:]}" for node in nodes]
            seen += [self.machines[node].shell("ps axo pid,time,stat,args; free -m") for node in nodes]
            raise AssertionError("\n".join([str(failure), *seen, self.log("node1", "gnt-masterd")[-1500:]])) from None

    def reboot(self, node: str) -> None:
        """Switch a machine without power on again, and start its node daemon."""
        machine = self.machines[node]
        # Its connections have no other end any more.
        if self._driver is not None:
            self._driver.end()
            self._driver = None
        # As on any node, what is in there does not outlive the power.
        shutil.rmtree(self.layout(node).run)
        machine.switch_on()
        machine.take_addresses()
        machine.shell(f"vgchange -qay {GROUP}")
        self.start_noded(node)

    def take_back(self, node: str) -> None:
        """Flag a node online that is booting: it has to answer for that."""

        def is_taken() -> bool:
            return self.command("node1", "gnt-node", "modify", "-f", "-O", "no", node, check=False).returncode == 0

        wait_until(is_taken, f"{node} does not come back", START_TIME, LOOK_EVERY)

    def clean(self) -> None:
        """Bring every machine back to an empty volume group, with its node daemon."""
        off = [node for node, machine in self.machines.items() if not machine.is_on]
        for node in off:
            self.reboot(node)
        for node, offline in self.luxi("QueryNodes", list(self.machines), ["name", "offline"], False):
            if offline:
                self.take_back(node)
        if off:
            self.wait_for_noded(*off)
        for machine in self.machines.values():
            machine.go_on()
        for name in self.instances():
            # One whose job was undone may go by itself meanwhile.
            self.command("node1", "gnt-instance", "remove", "-f", "--ignore-failures", name, check=False)
        for machine in self.machines.values():
            machine.empty(GROUP)

    # Node calls

    def ask(self, node: str, call: NodeCall[R], *, seconds: float = CALL_TIME) -> R:
        """Make a node call as the master does and give its result; raises `NodeFailure` and its family."""
        [answer] = self._answers({node: call}, seconds)
        return answer.result(call)

    def together(self, calls: Mapping[str, NodeCall[Any]], *, seconds: float = CALL_TIME) -> list[Any]:
        """Make a call to each of these nodes at once; gives the results in order, raises the first failure."""
        answers = self._answers(calls, seconds)
        return [answer.result(call) for answer, call in zip(answers, calls.values(), strict=True)]

    def _answers(self, calls: Mapping[str, NodeCall[Any]], seconds: float) -> list[Answer]:
        if self._driver is None:
            argv = self.enter("node1", [sys.executable, "-m", "tests.real_disks.driver", self.root("node1")])
            self._driver = _Driver(argv)
        driver, epoch = self._driver, self.epoch()
        requests = [
            (node, encode_request(Request(id=driver.fresh_id(), epoch=epoch, deadline=seconds, call=call)))
            for node, call in calls.items()
        ]
        return [decode_answer(data) for data in driver.ask(requests, seconds)]

    def epoch(self) -> Epoch:
        """Give the epoch in which the master speaks."""
        reader = Reader.open(self.layout("node1").config_db)
        try:
            return reader.log_end().epoch
        finally:
            reader.close()

    def model(self) -> Cluster:
        """Give the configuration as the master's store has it."""
        reader = Reader.open(self.layout("node1").config_db)
        try:
            return reader.load_cluster()
        finally:
            reader.close()

    def last_words(self) -> list[tuple[str, str]]:
        """Give the ends of the logs of all daemons, and of what the kernels have said, with a title each."""
        found = [("master daemon", self.log("node1", "gnt-masterd"))]
        for node, machine in self.machines.items():
            found.append((f"node daemon of {node}", self.log(node, "gnt-noded")))
            found.append((f"console of {node}", machine.console.read_text(errors="replace")))
        return [(title, text[-3000:]) for title, text in found]

    def end(self) -> None:
        """Switch everything off."""
        if self._driver is not None:
            self._driver.end()
        for started in self.background:
            started.kill()
            started.wait()
            if started.stdout is not None:
                started.stdout.close()
        for machine in self.machines.values():
            machine.lose_power()
        self.room.end()


class _Driver:
    """The process that makes node calls, and its standard streams."""

    def __init__(self, argv: Sequence[str | Path]) -> None:
        self._ids = itertools.count(1)
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def fresh_id(self) -> str:
        """Give an id that no call had before."""
        return f"test-{self._process.pid}-{next(self._ids)}"

    def ask(self, requests: Sequence[tuple[str, bytes]], seconds: float) -> list[bytes]:
        """Send requests to nodes and wait for all answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        numbers = [next(self._ids) for _ in requests]
        for number, (node, request) in zip(numbers, requests, strict=True):
            said = {"id": number, "node": node, "request": base64.b64encode(request).decode()}
            self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        found: dict[int, bytes] = {}
        watch = threading.Timer(seconds + 30, self._process.kill)
        watch.start()
        try:
            while len(found) < len(numbers):
                line = self._process.stdout.readline()
                assert line, f"no answer within {seconds + 30:.0f} s"
                answer = json.loads(line)
                found[answer["id"]] = base64.b64decode(answer["answer"])
        finally:
            watch.cancel()
        return [found[number] for number in numbers]

    def end(self) -> None:
        """Close the streams and wait."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _prepare(cluster: RealCluster) -> None:
    """Make the cluster and let the nodes join, each under its later address."""
    secondary = ("-s", f"{MIRRORS}.{HOST}")
    init = ("--enabled-hypervisors", "fake", "--master-netdev", "lo", "--no-ssh-init", "--no-etc-hosts")
    # Only the master votes: a machine may lose its power without stopping the cluster.
    cluster.command("node1", "gnt-cluster", "init", *init, *secondary, "-C", "1", "cluster")
    cluster.command("node1", "gnt-node", "modify", "--vm-capable=no", "node1")
    add_rapi_user(cluster)
    for node in cluster.machines:
        number = node.removeprefix("node")
        for network, bridge in ((NETWORK, "br0"), (MIRRORS, "br1")):
            cluster.room.run("ip", "addr", "add", f"{network}.{number}/24", "dev", bridge)
        adding = cluster.spawn("node1", "gnt-node", "add", "--json", "--token", "-s", f"{MIRRORS}.{number}", node)
        assert adding.stdout is not None
        token = json.loads(adding.stdout.readline())["token"]
        cluster.command(node, "gnt-node", "join", given=token)
        assert adding.wait(cluster.patience) == 0, adding.stdout.read()
        pid_file = cluster.layout(node).pid_file("gnt-noded")
        pid = pid_file.read_text().strip()
        cluster.room.run("kill", pid)
        wait_until(lambda: not pid_file.exists(), "the node daemon does not end")  # noqa: B023 - within the turn
        for network, bridge in ((NETWORK, "br0"), (MIRRORS, "br1")):
            cluster.room.run("ip", "addr", "del", f"{network}.{number}/24", "dev", bridge)


@contextmanager
def real_cluster(nodes: int = 2, kind: type[Machine] = Machine) -> Iterator[RealCluster]:
    """Give a running cluster of node1 (the master, without volumes) and machines node2, node3, ... of this kind."""
    base = Path(tempfile.mkdtemp(prefix="gnt.", dir=_where()))
    names = tuple(f"node{number}" for number in range(1, nodes + 2))
    cluster = RealCluster(base, NETWORK, names)
    try:
        lay_out(cluster)
        cluster.machines = {name: kind(cluster.room, base, int(name.removeprefix("node"))) for name in names[1:]}
        booting = [threading.Thread(target=boot_with_group, args=(machine,)) for machine in cluster.machines.values()]
        for thread in booting:
            thread.start()
        try:
            _prepare(cluster)
        finally:
            for thread in booting:
                thread.join()
        for node, machine in cluster.machines.items():
            machine.take_addresses()
            cluster.start_noded(node)
        cluster.wait_for_noded(*cluster.machines)
        # Only now: the machines are asked for their volume groups, and for the helper of DRBD.
        templates = ("--enabled-disk-templates", "drbd,plain,diskless", "--drbd-usermode-helper", "/bin/true")
        cluster.command("node1", "gnt-cluster", "modify", *templates, "--vg-name", GROUP)
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(base)


def _where() -> str:
    """Give the directory to live in: in memory, if there is enough. The disks outlive their machines there too."""
    in_memory = "/dev/shm"  # noqa: S108 - where user-mode-linux has its memory as well
    return in_memory if shutil.disk_usage(in_memory).free >= ENOUGH_MEMORY else "/tmp"  # noqa: S108


def boot_with_group(machine: Machine) -> None:
    """Boot a machine whose disk is empty, and make its volume group."""
    machine.switch_on()
    machine.shell(f"pvcreate -q {machine.device} && vgcreate -q {GROUP} {machine.device}")
