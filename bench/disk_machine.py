"""What `disk_overhead` says where volumes really get devices: in a user-mode-linux machine, without a cluster.

A command of LVM takes several times as long there as outside, and so does ours. As anybody. ROUNDS, INSTANCES and
VOLUMES as there.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.real_disks.cluster import GROUP, boot_with_group
from tests.real_disks.machine import Machine
from tests.real_disks.room import Room, why_not

ROOT = Path(__file__).parents[1]
PATIENCE = 3000.0
TOLD = ("ROUNDS", "INSTANCES", "VOLUMES")


def main() -> None:
    """Boot a machine, measure in it, and print what it said."""
    reason = why_not()
    if reason:
        print(f"no machine with real disks: {reason}")
        return
    base = Path(tempfile.mkdtemp(prefix="gnt."))
    room = Room()
    machine = Machine(room, base, 2, memory=768)
    try:
        boot_with_group(machine)
        env = {"ROUNDS": "7", "GNT_TEST_VG": GROUP, **{name: os.environ[name] for name in TOLD if name in os.environ}}
        words = (sys.executable, "-I", str(ROOT / "bench/disk_overhead.py"))
        done = machine.run(*words, env=env, check=False, seconds=PATIENCE)
        print(done.stdout + done.stderr, end="")
        if done.returncode:
            raise SystemExit(done.returncode)
    finally:
        machine.lose_power()
        room.end()
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
