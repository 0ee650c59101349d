"""The programs of storage back ends: without a shell, in a fixed environment, for a bounded time.

What cannot be run is said with the package that has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext
from gnt.noded.processes import Finished, IProcesses
from gnt.wire.calls import NORMAL

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where the administrator has these elsewhere than usual, the daemon's own environment says so.
_KEPT: Final = ("LVM_SYSTEM_DIR", "DM_DEV_DIR", "CEPH_CONF", "CEPH_ARGS")
# Ceph waits five minutes for a cluster that does not answer, and for ever for a store that does not.
_CEPH_PATIENCE: Final = "--client_mount_timeout=30 --rados_mon_op_timeout=30 --rados_osd_op_timeout=60"
# The Debian package of each program that we run.
PACKAGES: Final = {
    **dict.fromkeys(("lvs", "pvs", "vgs", "lvcreate", "lvremove", "lvchange", "lvextend", "lvrename"), "lvm2"),
    **dict.fromkeys(("pvchange", "vgreduce"), "lvm2"),
    **dict.fromkeys(("qemu-img", "qemu-io"), "qemu-utils"),
    "rbd": "ceph-common",
    **dict.fromkeys(("drbdsetup", "drbdmeta"), "drbd-utils"),
}
# A scan of some thousand volumes.
LARGE: Final = 1 << 26
# Characters of what a program said that stand in a message at most.
LONGEST_SAID: Final = 2000


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the whole environment of the programs, of a daemon that has this one."""
    kept = {name: environ[name] for name in _KEPT if environ.get(name)}
    patience = f"{_CEPH_PATIENCE} {kept.get('CEPH_ARGS', '')}".strip()
    return {"PATH": PATH, "LC_ALL": "C", **kept, "CEPH_ARGS": patience}


class Programs:
    """Runs programs for disk templates. `environ` is the daemon's own environment."""

    def __init__(self, processes: IProcesses, environ: Mapping[str, str] | None = None) -> None:
        self._processes = processes
        self._env = environment(os.environ if environ is None else environ)
        self.devices = Path(self._env.get("DM_DEV_DIR", "/dev"))

    def setting(self, name: str) -> str:
        """Give a variable that the programs get, for example CEPH_CONF; empty where it is not set."""
        return self._env.get(name, "")

    async def try_run(
        self,
        argv: Sequence[str],
        context: CallContext | None = None,
        *,
        timeout: float = NORMAL,  # noqa: ASYNC109 - not asyncio
        **options: Any,
    ) -> Finished:
        """Run a program to its end, well or not; `options` are those of `IProcesses.run`.

        Raises `NodeFailure`: `missing_program`, or `aborted` and `timeout` when it was ended.
        """
        done = await self._processes.run(argv, env=self._env, timeout=timeout, context=context, lone=True, **options)
        name = argv[0]
        if done.status == 127 and name in PACKAGES:
            raise NodeFailure(
                "missing_program", f"{name} is not installed on this node", hint=f"install the package {PACKAGES[name]}"
            )
        if done.ended_by == "timeout":
            raise NodeFailure("timeout", f"{name} was ended because it took longer than {timeout:g} s")
        if done.ended_by:
            raise NodeFailure("aborted", f"{name} was ended because the call was given up")
        return done

    async def run(self, argv: Sequence[str], context: CallContext | None = None, **options: Any) -> Finished:
        """Run a program that has to end well; else `storage_error` with the last line of what it said."""
        done = await self.try_run(argv, context, **options)
        if not done.ok and lacks_driver(done.errors):
            raise no_driver(argv[0])
        if not done.ok:
            raise NodeFailure("storage_error", f"{argv[0]} {done.how}: {said(done)}")
        return done


def lacks_driver(text: str) -> bool:
    """Say whether QEMU says that it knows no RADOS images: Debian has that in a package of its own."""
    return "Unknown protocol 'rbd'" in text or "Unknown driver 'rbd'" in text


def no_driver(who: str) -> NodeFailure:
    """Say what to install."""
    text = f"{who} cannot open RADOS images on this node"
    return NodeFailure("missing_program", text, hint="install the package qemu-block-extra")


def said(done: Finished) -> str:
    """Give the last line of what a program said about its failure; LVM's advice to read its help says nothing."""
    lines = [line.strip() for line in (done.errors or done.output).splitlines()]
    spoken = [line for line in lines if line and not line.startswith(("WARNING:", "Run `"))]
    return printable(spoken[-1]) if spoken else "it said nothing"


def printable(text: str) -> str:
    """Give what a program said so that it stands in a message: a terminal gets no control character, and no book."""
    kept = "".join(letter if letter.isprintable() and letter != "\ufffd" else "?" for letter in text)
    return kept if len(kept) <= LONGEST_SAID else f"{kept[:LONGEST_SAID]} ..."
