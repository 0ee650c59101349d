"""A Ceph cluster of one monitor and one store (bluestore on a file) on a loopback address of its own.

It asks for cephx keys, as real ones do. Some seconds to start; all of it is in one directory, and ends with `close`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PACKAGES: Final = {
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "rbd": "ceph-common",
    "ceph-authtool": "ceph-common",
    "monmaptool": "ceph-base",
    "qemu-img": "qemu-utils",
}
QEMU_DRIVERS: Final = "/usr/lib/x86_64-linux-gnu/qemu/block-rbd.so"
POOL: Final = "gnt-test"
PATIENCE: Final = 90.0

CONF: Final = """\
[global]
fsid = {fsid}
mon host = [v2:{address}:3300]
public addr = {address}
cluster addr = {address}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {root}/keyring
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
run dir = {root}
admin socket = {root}/$name.asok
log file = {root}/$name.log
mon data = {root}/mon
mon data avail crit = 1
mon data avail warn = 2
osd data = {root}/osd
osd objectstore = bluestore
osd memory target = 939524096
bluestore block size = 2147483648
bluestore fsck on mount = false
"""


def why_not() -> str:
    """Say what this machine lacks for a Ceph cluster, empty if nothing."""
    missing = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if not Path(QEMU_DRIVERS).exists():
        missing.add("qemu-block-extra")
    if missing:
        return f"a Ceph cluster needs {' '.join(sorted(missing))} (tools/setup.sh ceph)"
    return "" if os.geteuid() == 0 else "a Ceph cluster needs root"


@dataclass
class Ceph:
    """A running cluster; `conf` is its ceph.conf, with the administrator's key beside it."""

    root: Path
    address: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def open(cls) -> Ceph:
        """Start it, with an empty pool."""
        source = random.SystemRandom()
        made = cls(
            Path(tempfile.mkdtemp(prefix="gnt-ceph-")),
            f"127.{source.randint(16, 250)}.{source.randint(0, 250)}.{source.randint(2, 250)}",
        )
        try:
            made._begin()
        except BaseException:
            made.close()
            raise
        return made

    @property
    def conf(self) -> Path:
        """Give the file with which clients find it."""
        return self.root / "ceph.conf"

    def ceph(self, *words: str, seconds: int = 30) -> str:
        """Ask the monitor, as the administrator."""
        return self._run("ceph", "--connect-timeout", str(seconds), *words)

    def rbd(self, *words: str) -> str:
        """Work on images, as the administrator."""
        return self._run("rbd", *words)

    def stop(self) -> None:
        """End its daemons at once; the data stays."""
        for daemon in self.running.values():
            daemon.kill()
            daemon.wait()
        self.running.clear()

    def start(self) -> None:
        """Start its daemons, and wait until images can be worked on."""
        self._daemon("mon", "a")
        self._wait(lambda: self._asked("mon", "stat"), "the monitor")
        self._daemon("osd", "0")
        self._wait(lambda: '"num_up_osds":1' in self._asked("osd", "stat", "--format", "json"), "the store")

    def close(self) -> None:
        """End it, and forget all."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def _begin(self) -> None:
        fsid, root = str(uuid.uuid4()), self.root
        self.conf.write_text(CONF.format(fsid=fsid, address=self.address, root=root))
        for name in ("mon", "osd"):
            (root / name).mkdir()
        keys = ["ceph-authtool", str(root / "keyring")]
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
        self._run(*keys, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run(*keys, "--gen-key", "-n", "client.admin", *everything)
        monmap = str(root / "monmap")
        place = ["--fsid", fsid, "--enable-all-features", "--addv", "a", f"[v2:{self.address}:3300]"]
        self._run("monmaptool", "--create", "--clobber", *place, monmap)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", str(root / "keyring"))
        self._daemon("mon", "a")
        self._wait(lambda: self._asked("mon", "stat"), "the monitor")
        number = str(uuid.uuid4())
        self.ceph("osd", "new", number)
        key = self.ceph("auth", "get-or-create", "osd.0", "mon", "allow profile osd", "osd", "allow *")
        (root / "osd/keyring").write_text(key)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", number, "--keyring", str(root / "osd/keyring"))
        self._daemon("osd", "0")
        self._wait(lambda: '"num_up_osds":1' in self._asked("osd", "stat", "--format", "json"), "the store")
        self.ceph("osd", "pool", "create", POOL, "8", "8")
        self.ceph("osd", "pool", "set", POOL, "size", "1", "--yes-i-really-mean-it")
        self.ceph("osd", "pool", "application", "enable", POOL, "rbd")
        self.rbd("pool", "init", POOL)

    def _daemon(self, kind: str, name: str) -> None:
        out = (self.root / f"{kind}.out").open("ab")
        keyring = self.root / ("keyring" if kind == "mon" else "osd/keyring")
        command = [f"ceph-{kind}", "-i", name, "-f", "--keyring", str(keyring)]
        # Who starts it may be ended by force: it goes along.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        self.running[kind] = subprocess.Popen(command, env=self._environment(), stdout=out, stderr=out)
        out.close()

    def _asked(self, *words: str) -> str:
        try:
            return self.ceph(*words, seconds=3)
        except AssertionError:
            return ""

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self._environment(), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-1000:]}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self.conf)}

    def _wait(self, condition: object, what: str) -> None:
        assert callable(condition)
        pause, end = threading.Event(), time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited {PATIENCE:.0f} s for {what}: see {self.root}"
            pause.wait(0.2)
