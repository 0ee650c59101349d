"""One user-mode-linux node: switching it on, losing its power, and running programs in it.

The programs go over a serial line (`agent.py`), so they reach a node whose networks are cut.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from tests.real_disks.room import MIRRORS, NETWORK, Room

HERE: Final = Path(__file__).parent
LINUX: Final = Path("/usr/bin/linux.uml")
BOOT_TIME: Final = 60.0
COMMAND_TIME: Final = 120.0
# Before these stands `hold.sh` while one of them is to be held up; at other times they start without it, and sooner.
HELD_UP: Final = "lvcreate lvremove lvchange lvrename lvextend drbdsetup drbdmeta"


class Machine:
    """A node `nodeN` below `base`; its disk and its tree `base/nodeN` outlive the loss of its power."""

    device: ClassVar[str] = "/dev/ubda"
    modules: ClassVar[Path] = Path("/usr/lib/uml/modules")
    patience: ClassVar[float] = 1.0
    """How much longer than for a process of this machine one waits for one of its."""

    def __init__(self, room: Room, base: Path, number: int, *, size: int = 24 << 10, memory: int = 256) -> None:
        self.name = f"node{number}"
        self._room = room
        self._base = base
        self._number = number
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._ids = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self.disk = base / f"{self.name}.img"
        with self.disk.open("wb") as image:
            image.truncate(size << 20)
        modules = base / "mods/lib"
        modules.mkdir(parents=True, exist_ok=True)
        if not (modules / "modules").is_symlink():
            (modules / "modules").symlink_to(self.modules)

    @property
    def calls_card(self) -> str:
        """Name the room's end of the card for the calls."""
        return f"tap{self._number}"

    @property
    def mirror_card(self) -> str:
        """Name the room's end of the card for the mirrors."""
        return f"mir{self._number}"

    @property
    def address(self) -> str:
        """Give the address for the calls."""
        return f"{NETWORK}.{self._number}"

    @property
    def mirror_address(self) -> str:
        """Give the address for the mirrors."""
        return f"{MIRRORS}.{self._number}"

    @contextmanager
    def without_mirrors(self) -> Iterator[None]:
        """Have the cable of the mirrors' network out for a while."""
        self._room.plug(self.mirror_card, "down")
        try:
            yield
        finally:
            self._room.plug(self.mirror_card, "up")

    @property
    def _held_at(self) -> Path:
        """Give the file that `hold.sh` writes."""
        return self._base / f"{self.name}.held"

    def hold(self, pattern: str, number: int) -> None:
        """Let the command of LVM or DRBD stand still that is the so-manieth to match a pattern of the shell."""
        self._held_at.unlink(missing_ok=True)
        stand = f"for one in {HELD_UP}; do ln -sf {HERE}/hold.sh /usr/local/sbin/$one; done"
        self.shell(f"rm -f /run/matched; echo '{number} {pattern}' >/run/hold; {stand}")

    def go_on(self) -> None:
        """Let no command stand still any more; one that does is ended."""
        self._held_at.unlink(missing_ok=True)
        self.shell("rm -f /run/matched /run/hold /usr/local/sbin/*; /bin/busybox pkill -f '^sleep 100000'; true")

    def held(self) -> str:
        """Give the command that stands still; empty if none does."""
        return self._held_at.read_text().strip() if self._held_at.exists() else ""

    def empty(self, group: str) -> None:
        """Take all mirrors and volumes away."""
        self.shell(
            "drbdsetup show | sed -n 's/^resource \\(.*\\) {/\\1/p' | while read -r one; do drbdsetup down $one; done\n"
            f'lvremove -qq -f {group} >/dev/null 2>&1; [ -z "$(lvs --noheadings)" ]'
        )

    def switch_on(self) -> None:
        """Boot, and wait until programs can be run."""
        assert self._process is None, f"{self.name} is on"
        shutil.rmtree(self._base / f"{self._base.name}-{self.name}", ignore_errors=True)
        self._room.tap(self.calls_card, "br0")
        self._room.tap(self.mirror_card, "br1")
        self._line, far = socket.socketpair()
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                self._room.enter(self._command(far.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                pass_fds=[far.fileno()],
            )
        far.close()
        threading.Thread(target=self._hear, args=(self._line,), daemon=True).start()
        self._wait_for(0, BOOT_TIME * self.patience, "does not boot")

    def _hardware(self, card: int) -> str:
        """Give the hardware address of one of its two network cards."""
        return f"fe:fd:00:00:{card:02x}:{self._number:02x}"

    def _words(self, **more: str | Path) -> list[str]:
        """Give what `init.sh` is told on the kernel's command line."""
        told = {
            "init": HERE / "init.sh",
            "node": self.name,
            "work": self._base,
            "mods": self._base / "mods",
            "python": sys.executable,
            "agent": HERE / "agent.py",
            **more,
        }
        return [f"{name}={value}" for name, value in told.items()]

    def _command(self, line: int) -> list[str | Path]:
        """Give the command line of the machine, run in the room; its serial line is this descriptor."""
        hardware = {
            "mem": f"{self._memory}M",
            "umid": f"{self._base.name}-{self.name}",
            "uml_dir": f"{self._base}/",
            "root": "none",
            "rootfstype": "hostfs",
            "rootflags": "/",
            "ubda": self.disk,
            "eth0": f"tuntap,{self.calls_card},{self._hardware(0)}",
            "eth1": f"tuntap,{self.mirror_card},{self._hardware(1)}",
            "con": "null",
            "con0": "null,fd:1",
            "ssl0": f"fd:{line}",
        }
        words = [f"{name}={value}" for name, value in hardware.items()]
        return ["env", "TMPDIR=/dev/shm", LINUX, *words, *self._words(line="/dev/ttyS0"), "ro", "quiet"]

    def take_addresses(self) -> None:
        """Bring the networks up."""
        cards = {"eth0": self.address, "eth1": self.mirror_address}
        up = [f"ip addr add {address}/24 dev {card}; ip link set {card} up" for card, address in cards.items()]
        self.shell("\n".join(["set -e", *up]))

    @property
    def console(self) -> Path:
        """Give the file with all that its kernel and its first process have said."""
        return self._base / f"{self.name}.console"

    def lose_power(self) -> None:
        """End the machine at once: nothing is written any more, as when the power goes."""
        if self._process is None:
            return
        self._kill()
        self._process.wait(10)
        self._process = None
        assert self._line is not None
        self._line.close()
        with self._changed:
            self._answers.clear()
            self._changed.notify_all()

    def _kill(self) -> None:
        """End all of its processes at once: its own run in the group whose leader the kernel is."""
        kernel = int((self._base / f"{self._base.name}-{self.name}/pid").read_text())
        self._room.run("kill", "-KILL", "--", f"-{kernel}")

    @property
    def is_on(self) -> bool:
        """Say whether the machine runs."""
        return self._process is not None and self._process.poll() is None

    def run(
        self,
        *argv: str | Path,
        given: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        seconds: float = COMMAND_TIME,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the node; a failure is an error if `check`."""
        number = self.send(*argv, given=given, env=env)
        answer = self._wait_for(number, seconds * self.patience, f"{argv} does not end")
        words = [str(word) for word in argv]
        done = subprocess.CompletedProcess(
            words, int(answer["status"]), _text(answer["stdout"]), _text(answer["stderr"])
        )
        if check:
            assert done.returncode == 0, f"{self.name}: {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def shell(self, script: str, *, check: bool = True) -> str:
        """Run a shell script in the node; gives what it wrote."""
        return self.run("/bin/bash", "-c", script, check=check).stdout

    def send(self, *argv: str | Path, given: str = "", env: Mapping[str, str] | None = None) -> int:
        """Start a program in the node without waiting for it; gives a number under which it is known."""
        number = next(self._ids)
        request = {
            "id": number,
            "argv": [str(word) for word in argv],
            "env": dict(env or {}),
            "stdin": base64.b64encode(given.encode()).decode(),
        }
        assert self._line is not None
        self._line.sendall(json.dumps(request).encode() + b"\n")
        return number

    def _hear(self, line: socket.socket) -> None:
        """Note the answers that come in, until the line is closed."""
        kept = b""
        try:
            while piece := line.recv(65536):
                *lines, kept = (kept + piece).split(b"\n")
                for one in lines:
                    answer = json.loads(one)
                    with self._changed:
                        self._answers[answer["id"]] = answer
                        self._changed.notify_all()
        except OSError:
            return

    def _wait_for(self, number: int, seconds: float, failure: str) -> dict[str, Any]:
        with self._changed:
            came = self._changed.wait_for(lambda: number in self._answers or not self.is_on, seconds)
            assert came, f"{self.name}: {failure} within {seconds:.0f} s: {self._last_words()}"
            assert number in self._answers, f"{self.name}: {failure}, it is off: {self._last_words()}"
            return self._answers.pop(number)

    def _last_words(self) -> str:
        return self.console.read_text(errors="replace")[-2000:]


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")
