"""What the master and a node add to the commands when disks of many instances are activated: a node has started.

`python -m bench.activation [instances]`, as root: one node with real daemons, volumes on loop devices without
device-mapper (the metadata only, so the commands are at their quickest and what is ours weighs most). Every instance
is a job that activates its disk. Told is processor time, since a busy machine's clock says little: of the master, of
the node daemon, of the programs that it ran; and of the same two commands for each disk by themselves.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from gnt.opcodes.base import Opcode
from gnt.opcodes.registry import decode_opcode
from tests.live import Live, live_cluster
from tests.noded.storage.lvm_room import LvmRoom, loop_group

GROUP = "xenvg"
# LVM keeps what a cluster needs at least; the files are sparse.
DEVICE_MIB = 12_000
AT_ONCE = 20
PATIENCE = 1800.0
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Make the instances, activate their disks, and print what that took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with live_cluster(1) as live:
        # The daemons look for LVM's settings there; these have every device hidden.
        shutil.rmtree(live.base / "lvm")
        with contextmanager(loop_group)(live.base, GROUP, size=DEVICE_MIB) as room:
            measure(live, room, count)


def measure(live: Live, room: LvmRoom, count: int) -> None:
    """Print the figures of `count` instances."""
    live.command("node1", "gnt-cluster", "modify", "--enabled-disk-templates=plain,diskless", f"--vg-name={GROUP}")
    names = [f"web{number}" for number in range(count)]
    run_jobs(live, [create(name) for name in names])
    before = Times(live)
    begin = time.perf_counter()
    run_jobs(live, [{"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": name} for name in names])
    took = time.perf_counter() - begin
    after = Times(live)
    master, node, programs = (getattr(after, what) - getattr(before, what) for what in ("master", "node", "programs"))
    bare, bare_took = bare_commands(room)
    print(f"disks of {count} instances activated by {count} jobs in {took:.1f} s; processor time, seconds:")
    for what, seconds in (("programs", programs), ("node daemon", node), ("master", master)):
        print(f"  {what:12}{seconds:8.2f}   {1000 * seconds / count:6.1f} ms each")
    share = 100 * (master + node) / (master + node + programs)
    print(f"  ours is {share:.0f} % of all")
    print(f"the bare commands, {AT_ONCE} at once: {bare:.2f} s of processor time in {bare_took:.1f} s")


def create(name: str) -> dict[str, Any]:
    """Give what makes an instance with a volume of one extent, and does not start it."""
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "mode": "create",
        "disk_template": "plain",
        "disks": [{"size": 4}],
        "nics": [],
        "pnode": "node1",
        "os_type": "none",
        "no_install": True,
        "start": False,
        "ignore_ipolicy": True,
        "name_check": False,
        "ip_check": False,
        "wait_for_sync": False,
    }


def run_jobs(live: Live, ops: list[dict[str, Any]]) -> None:
    """Submit a job for each, and wait until all have ended well."""
    jobs = [[op] for op in ops]
    assert all(isinstance(decode_opcode(op), Opcode) for op in ops)
    answers = live.luxi("SubmitManyJobs", jobs)
    numbers = [number for done, number in answers if done]
    assert len(numbers) == len(ops), answers
    end = time.monotonic() + PATIENCE
    while True:
        states = [row[0] for row in live.luxi("QueryJobs", numbers, ["status"])]
        if all(state in {"success", "error", "canceled"} for state in states):
            assert set(states) == {"success"}, live.luxi("QueryJobs", numbers[:1], ["opresult"])
            return
        assert time.monotonic() < end, "the jobs do not end"
        time.sleep(0.5)


class Times:
    """Seconds of processor time until now: of the master, of the node daemon, and of programs that it has seen end."""

    def __init__(self, live: Live) -> None:
        self.master, _ = _used(live.pid("node1", "gnt-masterd"))
        self.node, self.programs = _used(live.pid("node1", "gnt-noded"))


def _used(pid: int) -> tuple[float, float]:
    """Give the processor time of a process and of its children that have ended: proc(5), fields 14 to 17."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - no file on a disk
        fields = file.read().rpartition(")")[2].split()
    own, children = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    return own / _TICKS, children / _TICKS


def bare_commands(room: LvmRoom) -> tuple[float, float]:
    """Run what the node runs for each disk, by itself; gives seconds of processor time, and of the clock."""
    volumes = room.run("lvs", "--noheadings", "-o", "lv_name", room.group).split()
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **room.environ}

    def one(name: str) -> None:
        chosen = ("-S", f'lv_name="{name}"', room.group)
        fields = ("--reportformat", "json", "-o", "vg_name,lv_name,lv_size,lv_attr,lv_tags")
        subprocess.run(("lvchange", "-ay", *chosen), env=env, check=True, capture_output=True)
        subprocess.run(("lvs", *fields, f"{room.group}/{name}"), env=env, check=True, capture_output=True)

    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, volumes))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begin


if __name__ == "__main__":
    main()
