"""A machine with DRBD for tests: stands in for the programs `drbdsetup` and `drbdmeta` and for what the kernel shows.

It knows of one mirror (minor 0) what the code under test has to see: what it is set up on, in which state it is. The
states after a command are given by the test; the words in which the programs refuse are those of the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnt.noded.handler import CallContext
from gnt.noded.processes import Finished

REFUSALS = {
    -1: (11, "0: State change failed: (-1) Multiple primaries not allowed by config\n"),
    -2: (17, "0: State change failed: (-2) Need access to UpToDate data\n"),
    -10: (11, "0: State change failed: (-10) State change was refused by peer node\n"),
    -12: (11, "0: State change failed: (-12) Device is held open by someone\n"),
    127: (10, "0: Failure: (127) Device minor not allocated\nadditional info from kernel:\nunknown minor\n"),
    130: (10, "0: Failure: (130) Resize not allowed during resync.\n"),
    131: (10, "0: Failure: (131) Need one Primary node to resize.\n"),
    134: (10, "0: Failure: (134) Sync-pause flag is already set\n"),
    157: (10, "0: Failure: (157) Sync-pause flag is already cleared.\nNote: Resync pause caused by the peer node.\n"),
    158: (10, "resource0: Failure: (158) Unknown resource\nadditional info from kernel:\nunknown resource\n"),
    162: (10, "??: Failure: (162) Invalid configuration request\nadditional info from kernel:\nunknown connection\n"),
    165: (10, "0: Failure: (165) Unclean meta-data found.\nYou need to 'drbdadm apply-al res'\n"),
}
VERSION = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 059B1B470318F053F5077D5 \n"
FRESH = "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:1:0:1:0\n"
USED = "5BD7C36EB94E4159:0000000000000000:5426A88BE73B5F2D:0000000000000004:1:1:1:1:0:0:0\n"


class DrbdMachine:
    """`commands` has what was run, without looks; `refuse` maps the second word of a command to a number above.

    `aborted` is the second word of one that is ended from outside.

    `then` maps a command (`connect`, `primary`, `primary --force`, ...) to the state after it.
    """

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc-drbd"
        self.sys = root / "sys"
        self.log = root / "kmsg"
        self.log.touch()
        self.commands: list[str] = []
        self.refuse: dict[str, int] = {}
        self.aborted = ""
        self.then: dict[str, str] = {}
        self.setup = ""
        self.generation = USED
        self.metadata: set[str] = set()
        self.says("")

    def says(self, state: str) -> None:
        """Set the state: `cs:... ro:... ds:...`; empty: not in use."""
        self.proc.write_text(VERSION + (f" 0: {state}\n    ns:0 nr:0 oos:0\n" if state else ""))

    def is_set_up(
        self, *, data: str = "/dev/xenvg/data", net: bool = True, dual: bool = False, port: int = 11000, peer: int = 3
    ) -> None:
        """Set what the minor is set up as; an empty `data`: without volumes."""
        disk = f'disk "{data}"; meta-disk "/dev/xenvg/meta"; disk {{ size 131072s; }}' if data else ""
        two = "allow-two-primaries yes;" if dual else ""
        there = f"net {{ {two} }} _remote_host {{ address ipv4 10.98.0.{peer}:{port}; }}" if net else ""
        here = f"address ipv4 10.98.0.2:{port};" if net else ""
        this = f"_this_host {{ {here} volume 0 {{ device minor 0; {disk} }} }}"
        self.setup = f"resource resource0 {{ options {{ }} {there} {this} }}\n"

    def has_size(self, mebibytes: int) -> None:
        """Set the size of the mirror."""
        path = self.sys / "block/drbd0/size"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{mebibytes * 2048}\n")

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - not asyncio
        context: CallContext | None = None,
        **_others: Any,
    ) -> Finished:
        """Run a program: `IProcesses.run`."""
        words = list(argv)
        if words[:2] == ["drbdsetup", "show"]:
            return _ended(self.setup) if self.setup or len(words) == 2 else _refused(127)
        if words[:2] == ["drbdsetup", "get-gi"]:
            return _ended(self.generation)
        if words[0] == "drbdmeta" and words[-1] == "get-gi":
            return _ended(FRESH) if words[3] in self.metadata else Finished(status=20, signal=None, errors="no valid\n")
        self.commands.append(" ".join(words))
        name = words[-1] if words[0] == "drbdmeta" else words[1]
        if name == self.aborted:
            return Finished(status=None, signal=15, ended_by="abort")
        if name in self.refuse and words[-1] != "--force":
            return _refused(self.refuse[name])
        key = f"{name} --force" if "--force" in words and name == "primary" else name
        if key in self.then:
            self.says(self.then[key])
        self._follow(name, words)
        return _ended("")

    async def end_leftovers(self) -> list[str]:
        """Nothing is left: `IProcesses.end_leftovers`."""
        return []

    def _follow(self, name: str, words: list[str]) -> None:
        """Have the setup be what a command makes of it."""
        if name == "down":
            self.setup = ""
            self.says("")
        elif name == "new-minor":
            self.is_set_up(data="", net=False)
        elif name == "attach":
            self.is_set_up(data=words[3], net="address" in self.setup)
        elif name == "detach":
            self.is_set_up(data="", net="address" in self.setup)
        elif name in {"connect", "disconnect"}:
            data = "/dev/xenvg/data" if "/dev/xenvg/data" in self.setup else ""
            self.is_set_up(data=data, net=name == "connect", dual="--allow-two-primaries" in words)
        elif name == "create-md":
            self.metadata.add(words[4])
        elif name == "resize":
            self.has_size(int(words[4].removesuffix("m")))


def _ended(output: str) -> Finished:
    return Finished(status=0, signal=None, output=output)


def _refused(number: int) -> Finished:
    status, text = REFUSALS[number]
    return Finished(status=status, signal=None, errors=text)
