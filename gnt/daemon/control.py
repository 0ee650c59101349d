"""Starting and stopping the daemons of this node, by systemd where it has our units, else by twistd."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from gnt.model.errors import Failed
from gnt.model.layout import Layout

NODED: Final = "gnt-noded"
MASTERD: Final = "gnt-masterd"
RAPI: Final = "gnt-rapi"

# Start order; they are stopped in reverse (spec/daemons.md, section 13).
ALL: Final = (NODED, MASTERD, RAPI)
ARGUMENTS: Final = {NODED: "NODED_ARGS", MASTERD: "MASTERD_ARGS", RAPI: "RAPI_ARGS"}

STOP_TIME: Final = 30.0
LOOK_EVERY: Final = 0.02
_GO: Final = "go\n"
_TWISTD: Final = "from twisted.scripts.twistd import run; run()"
_PREPARED: Final = (
    f"import sys, twisted.scripts.twistd, {{module}}; sys.stdin.readline() == {_GO!r} or sys.exit(); {_TWISTD}"
)
"""Loads all that a daemon needs, then waits for the word; none comes from whoever has given up."""


class DaemonControl:
    """The daemons of one node. All methods block."""

    def __init__(self, layout: Layout, environ: Mapping[str, str]) -> None:
        self._layout = layout
        self._environ = environ
        self._prepared: dict[str, subprocess.Popen[str]] = {}

    def prepare(self, name: str) -> None:
        """Have the program of a daemon loaded that `start` will start soon; to be ended by `dismiss` if it does not.

        It does nothing before. Where systemd starts the daemon, nothing is prepared.
        """
        if not self._managed(name) and name not in self._prepared:
            code = _PREPARED.format(module=f"gnt.{name.removeprefix('gnt-')}.tap")
            self._prepared[name] = subprocess.Popen(
                self._twistd(name, code),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self._surroundings(),
                cwd="/",
            )

    def dismiss(self) -> None:
        """End the programs that were prepared and not started."""
        prepared, self._prepared = self._prepared, {}
        for program in prepared.values():
            program.kill()
            program.communicate()

    def start(self, name: str) -> None:
        """Start a daemon that does not run; gives back when its program has begun to work.

        Raises `Failed` with what it said.
        """
        if self.pid(name) is not None:
            return
        if self._managed(name):
            self._run(["systemctl", "start", f"{name}.service"], name)
            return
        self._layout.pid_file(name).unlink(missing_ok=True)
        prepared = self._prepared.pop(name, None)
        if prepared is None:
            self._run(self._twistd(name, _TWISTD), name)
        else:
            said, complained = prepared.communicate(_GO)
            self._check(name, prepared.returncode, said, complained)

    def _twistd(self, name: str, code: str) -> list[str]:
        arguments = shlex.split(self._defaults().get(ARGUMENTS[name], ""))
        options = [f"--pidfile={self._layout.pid_file(name)}", "--umask=077", "--rundir=/"]
        return [sys.executable, "-c", code, *options, name, *arguments]

    def start_all(self) -> None:
        """Start all daemons, side by side: each waits by itself for those that it needs.

        Raises `Failed` with what the first of them said that does not start, once all have had their try.
        """
        with ThreadPoolExecutor(len(ALL)) as threads:
            starts = [threads.submit(self.start, name) for name in ALL]
        for start in starts:
            start.result()

    def stop(self, name: str) -> None:
        """End a daemon in order; one that does not run is ended already. Raises `Failed` if it does not end."""
        pid = self.pid(name)
        if pid is None:
            return
        if self._managed(name):
            self._run(["systemctl", "stop", f"{name}.service"], name)
            return
        os.kill(pid, signal.SIGTERM)
        self.until(lambda: self.pid(name) is None, STOP_TIME, f"{name} (pid {pid}) does not end")

    def pid(self, name: str) -> int | None:
        """Give the process of a daemon, or None if none lives; a stale file, or a foreign process, counts as none."""
        try:
            pid = int(self._layout.pid_file(name).read_text().strip())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError, IndexError):
            return None
        return pid if name.encode() in command and state != "Z" else None

    def _managed(self, name: str) -> bool:
        """Say whether systemd has our unit; never below a moved root, which is not the machine's."""
        if str(self._layout.root) != "/" or not Path("/run/systemd/system").is_dir():
            return False
        places = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
        return any(Path(place, f"{name}.service").exists() for place in places)

    def _defaults(self) -> dict[str, str]:
        """Read the administrator's extra arguments: lines `NODED_ARGS="…"` in `etc/default/ganeti`."""
        try:
            lines = (self._layout.root / "etc/default/ganeti").read_text().splitlines()
        except OSError:
            return {}
        found = {}
        for line in lines:
            key, equals, value = line.strip().partition("=")
            if equals and key in ARGUMENTS.values():
                found[key] = " ".join(shlex.split(value))
        return found

    def _surroundings(self) -> dict[str, str]:
        return {**self._environ, "GNT_ROOTDIR": str(self._layout.root)}

    def _run(self, command: list[str], name: str) -> None:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self._surroundings(),
            check=False,
            cwd="/",
        )
        self._check(name, done.returncode, done.stdout, done.stderr)

    def _check(self, name: str, status: int, said: str, complained: str) -> None:
        """See whether a daemon has begun. Raises `Failed` with the last that its program said."""
        if status:
            lines = [line for line in (complained + said).splitlines() if line.strip()]
            last = lines[-1].strip() if lines else f"exit status {status}"
            raise Failed(f"{name} does not start: {last}", hint=f"its log is in {self._layout.log}")

    def until(self, ready: Callable[[], bool], seconds: float, failure: str) -> None:
        """Wait until something has come to pass. Raises `Failed` with the text if it takes longer (seconds)."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise Failed(failure, hint=f"its log is in {self._layout.log}")
            time.sleep(LOOK_EVERY)
