"""Running real programs: what they get, how they end, what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext
from gnt.noded.processes import IProcesses, Processes, _script
from gnt.noded.sessions import boot_id, leader_is, members, start_time
from tests.noded.places import ThreadPool, context, place_below

ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class ProcessesTests(TestCase):
    """Each test runs programs of Debian's base system for real."""

    def setUp(self) -> None:
        """Make a place for the children's records."""
        kept = tempfile.TemporaryDirectory()
        self.addCleanup(kept.cleanup)
        self.root = Path(kept.name)
        place = place_below(self.root, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
        self.processes = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
        self.records = place.layout.run / "children"

    def start(self, *argv: str, **options: Any) -> Deferred[Any]:
        """Run a program with the plain environment, for at most a minute."""
        return ensureDeferred(self.processes.run(argv, **({"env": ENV, "timeout": 60} | options)))

    async def until(self, condition: Any) -> Any:
        """Wait until something holds, and give it."""
        while not (found := condition()):
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]
        return found

    def pid_in(self, path: Path) -> int | None:
        """Read a process id that a script wrote, once it has."""
        text = path.read_text() if path.exists() else ""
        return int(text) if text.endswith("\n") else None

    def assert_dead(self, pid: int) -> None:
        """Nothing lives under this id."""
        assert members(-1, pid) == []

    async def test_provides_the_interface(self) -> None:
        """What the parts of the daemon expect."""
        assert IProcesses.providedBy(self.processes)

    async def test_output_and_status(self) -> None:
        """Both streams apart, the exit status as it is."""
        done = await self.start("sh", "-c", "echo out; echo err >&2; exit 3")
        assert (done.status, done.signal, done.output, done.errors) == (3, None, "out\n", "err\n")
        assert not done.ok
        assert done.how == "exited with exit code 3"

    async def test_the_environment_is_exact(self) -> None:
        """Not one variable more than given, values of any form."""
        done = await self.start("/usr/bin/env", "-0", env={"A": "x=y\nz", "LEER": "", "Ü": "é"})
        assert sorted(done.output.split("\0")) == ["", "A=x=y\nz", "LEER=", "Ü=é"]

    async def test_no_environment_at_all(self) -> None:
        """Nothing is there then."""
        assert (await self.start("/usr/bin/env", env={})).output == ""

    async def test_directory_arguments_umask_signals_and_descriptors(self) -> None:
        """The working directory is the one given, nothing of ours is inherited."""
        script = 'echo "$PWD" "$1"; umask; grep SigIgn /proc/self/status; ls /proc/self/fd'
        done = await self.start("sh", "-c", script, "sh", "$HOME; *", cwd=Path("/usr/share"))
        lines = done.output.splitlines()
        assert lines[:2] == ["/usr/share $HOME; *", "0022"]
        ignored = int(lines[2].split()[1], 16)
        assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
        assert lines[3:] == ["0", "1", "2", "3"]

    async def test_a_session_of_its_own(self) -> None:
        """The program leads its session and group."""
        done = await self.start("sh", "-c", "cut -d' ' -f5,6 /proc/$$/stat; echo $$")
        ids, pid = done.output.splitlines()
        assert ids == f"{pid} {pid}"

    async def test_standard_input(self) -> None:
        """Given bytes arrive, larger than any pipe; without them there is nothing to read."""
        assert (await self.start("wc", "-c", stdin=b"x" * 300_000)).output == "300000\n"
        assert (await self.start("wc", "-c")).output == "0\n"

    async def test_input_that_nobody_reads(self) -> None:
        """A program that ends without reading does not block us."""
        assert (await self.start("true", stdin=b"x" * 1_000_000)).ok

    async def test_much_output_never_blocks(self) -> None:
        """Far more than a pipe holds: the end is kept."""
        done = await self.start("sh", "-c", "yes | head -c 5000000; echo; echo end")
        assert done.ok
        assert len(done.output) <= 65536
        assert done.output.endswith("\nend\n")

    async def test_log(self) -> None:
        """Both streams go to a private file, appended; the end of it is the output."""
        log = self.root / "log/os/add.log"
        await self.start("sh", "-c", "echo one; echo two >&2", log=log)
        done = await self.start("sh", "-c", "echo three", log=log)
        assert log.read_text() == "one\ntwo\nthree\n"
        assert done.output == "one\ntwo\nthree\n"
        assert log.stat().st_mode & 0o777 == 0o600

    async def test_a_program_that_cannot_run(self) -> None:
        """Missing program, missing directory: status 127 and the reason; no exception."""
        done = await self.start("/no/such/program")
        assert done.status == 127
        assert "/no/such/program" in done.errors
        assert (await self.start("true", cwd=Path("/no/such"))).status == 127

    async def test_arguments_are_what_they_are(self) -> None:
        """Every byte but NUL, quotes and lines, words that a shell or `env` would take for their own."""
        every = bytes(range(1, 256)).decode(errors="surrogateescape")
        words = [every, "it's", "a\nb\n", "}", "$(touch /tmp/x)", "--help", "A=b", "", "\\", "!", "ä" * 30_000]
        script = 'import os, sys; os.write(1, b"\\0".join(map(os.fsencode, sys.argv[1:])))'
        done = await self.start(sys.executable, "-c", script, *words, keep=1 << 20)
        assert done.output == os.fsencode("\0".join(words)).decode(errors="replace")

    async def test_a_program_whose_name_looks_like_a_variable(self) -> None:
        """It is run all the same, with its environment."""
        program = self.root / "kind=disk/create"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\necho "$A $1"\n')
        program.chmod(0o755)
        done = await self.start(str(program), "x", env={**ENV, "A": "b", "C-D": "e"})
        assert (done.output, done.errors) == ("b x\n", "")

    def test_half_a_message_opens_no_gate(self) -> None:
        """A daemon that dies while it says what is to be run has run nothing, wherever it was cut."""
        made = self.root / "made"
        script = _script(Path("/"), ["touch", str(made)], ENV).encode()
        for end in range(len(script) - 1):
            subprocess.run(["/bin/sh", "/proc/self/fd/0"], input=script[:end], check=False, capture_output=True)
            assert not made.exists(), script[:end]
        subprocess.run(["/bin/sh", "/proc/self/fd/0"], input=script, check=False)
        assert made.exists()

    async def test_nul_is_refused(self) -> None:
        """An argument with NUL would be two."""
        with pytest.raises(NodeFailure):
            await self.start("echo", "a\0b")
        assert list(self.records.iterdir()) == []

    async def test_ended_by_a_signal(self) -> None:
        """A signal is told apart from a status."""
        done = await self.start("sh", "-c", "kill -SEGV $$")
        assert (done.status, done.signal, done.how) == (None, signal.SIGSEGV, "terminated by signal 11")

    async def test_timeout_ends_the_whole_session(self) -> None:
        """Also a child that ignores TERM, and has a process group of its own."""
        pidfile = self.root / "pid"
        script = (
            f"set -m; (trap '' TERM; echo $(exec sh -c 'echo $PPID') > {pidfile}; while :; do sleep 60; done) & wait"
        )
        running = self.start("bash", "-c", script, timeout=0.5)
        pid = await self.until(lambda: self.pid_in(pidfile))
        done = await running
        assert (done.ended_by, done.ok, done.signal) == ("timeout", False, signal.SIGTERM)
        self.assert_dead(pid)
        assert list(self.records.iterdir()) == []

    async def test_abort_ends_it(self) -> None:
        """A fence or an abort calls back; afterwards nothing of ours stays in the context."""
        within = context()
        running = self.start("sleep", "60", context=within)
        await self.until(lambda: within.on_abort)
        within.on_abort[0]()
        done = await running
        assert (done.ended_by, done.how) == ("abort", "ended because the call was aborted")
        assert within.on_abort == []

    async def test_an_abort_that_comes_early(self) -> None:
        """A call that is aborted before its program began never begins it."""
        within = context()
        running = self.start("touch", str(self.root / "ran"), context=within)
        assert list(self.records.glob("[0-9]*")) == []
        within.on_abort[0]()
        assert (await running).ended_by == "abort"
        assert not (self.root / "ran").exists()

    async def test_cancelling_ends_it(self) -> None:
        """A cancelled wait leaves no program."""
        running = self.start("sleep", "60")
        record = await self.until(lambda: list(self.records.glob("[0-9]*")))
        pid = int(record[0].name)
        running.addErrback(lambda _failure: None)
        running.cancel()
        await self.until(lambda: not record[0].exists())
        self.assert_dead(pid)

    async def test_what_a_program_leaves_in_its_session_ends_with_it(self) -> None:
        """Nothing of a call outlives the call, and a held pipe does not hold us."""
        done = await self.start("sh", "-c", "sleep 60 & echo $!")
        assert done.ok
        self.assert_dead(int(done.output))

    async def test_the_child_is_on_record_before_it_runs(self) -> None:
        """The program finds its own record; after its end there is none."""
        done = await self.start("sh", "-c", f"cat {self.records}/$$", context=CallContext("c-9", None, print))
        assert '"call":"c-9"' in done.output
        assert list(self.records.iterdir()) == []

    async def test_without_a_record_nothing_runs(self) -> None:
        """Where the record cannot be written, the program never starts."""
        self.records.parent.mkdir(parents=True)
        self.records.write_text("in the way")
        with pytest.raises(NodeFailure):
            await self.start("touch", str(self.root / "ran"))
        assert not (self.root / "ran").exists()

    async def test_leftovers_of_a_killed_daemon_are_ended(self) -> None:
        """A daemon killed by SIGKILL leaves a script and its child; the next one ends both before anything else."""
        pidfile = self.root / "pid"
        script = f"(trap '' TERM; echo $(exec sh -c 'echo $PPID') > {pidfile}; while :; do sleep 60; done) & wait"
        daemon = subprocess.Popen([sys.executable, "-c", _DAEMON, str(self.root), script])  # noqa: ASYNC220
        try:
            child = await self.until(lambda: self.pid_in(pidfile))
            record = next(self.records.glob("[0-9]*"))
        finally:
            daemon.kill()
            daemon.wait()
        assert leader_is(int(record.name), start_time(int(record.name)) or 0)
        assert await self.processes.end_leftovers() == ["call-1"]
        self.assert_dead(int(record.name))
        self.assert_dead(child)
        assert list(self.records.iterdir()) == []
        assert await self.processes.end_leftovers() == []

    async def test_a_reused_process_id_is_not_touched(self) -> None:
        """A record whose id now belongs to another process, or that is not whole, is only forgotten."""
        self.records.mkdir(parents=True)
        other = subprocess.Popen(["sleep", "60"], start_new_session=True)  # noqa: ASYNC220
        boot = boot_id()
        text = f'{{"pid":{other.pid},"start":1,"boot":"{boot}","call":"c","program":"p"}}'
        (self.records / str(other.pid)).write_text(text)
        (self.records / "1").write_text('{"pid":')
        try:
            assert await self.processes.end_leftovers() == []
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()
        assert list(self.records.iterdir()) == []

    async def test_a_record_of_another_boot_is_only_forgotten(self) -> None:
        """After a reboot the same number means nothing."""
        self.records.mkdir(parents=True)
        pid = os.getpid()
        text = f'{{"pid":{pid},"start":{start_time(pid)},"boot":"other","call":"c","program":"p"}}'
        (self.records / str(pid)).write_text(text)
        assert await self.processes.end_leftovers() == []

    async def test_gates_that_stand_open(self) -> None:
        """After the first run the next programs go through gates that wait; environment and output are their own."""
        self.processes._wanted_spares = 2
        await self.start("true")
        await self.until(lambda: self.processes._spares)
        waiting = [spare.pid for spare in self.processes._spares]
        assert len(waiting) == 2
        done = await self.start("sh", "-c", 'echo $$ "$A"; cut -d" " -f6 /proc/$$/stat', env={**ENV, "A": "b"})
        assert done.output == f"{waiting[0]} b\n{waiting[0]}\n"
        os.kill(waiting[1], signal.SIGKILL)
        await self.until(lambda: self.processes._spares[0].child.has_exited)
        assert (await self.start("sh", "-c", "exit 3")).status == 3
        await self.until(lambda: len(self.processes._spares) == 2)
        spares = self.processes._spares
        self.processes.stop()
        for spare in spares:
            await spare.child.closed

    async def test_gates_are_shut_in_the_end(self) -> None:
        """What waits at a gate that nobody needs any more ends by itself."""
        self.processes._wanted_spares = 1
        await self.start("true")
        (spare,) = await self.until(lambda: self.processes._spares)
        self.processes.stop()
        await spare.child.closed
        assert spare.child.has_exited
        await self.start("true")
        self.processes._make_spares_soon()
        assert self.processes._opening is None
        assert self.processes._spares == []

    async def test_what_a_lone_program_leaves_in_its_group_is_ended(self) -> None:
        """A promise that is not kept is noticed as far as the process group goes."""
        pid = self.root / "pid"
        await self.start("sh", "-c", f"sleep 1000 & echo $! > {pid}", lone=True)
        self.assert_dead(int(pid.read_text()))

    async def test_output_is_heard_as_it_comes(self) -> None:
        """Before the program ends; how much is kept is said by the caller."""
        heard: list[bytes] = []
        done = await self.start("sh", "-c", "echo one; sleep 0.1; echo two", hear=heard.append, keep=4)
        assert b"".join(heard) == b"one\ntwo\n"
        assert len(heard) == 2
        assert done.output == "two\n"


_DAEMON = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from gnt.noded.processes import Processes
from tests.noded.places import ThreadPool, context, place_below
processes = Processes(place_below(Path(sys.argv[1]), clock=reactor), reactor)
env = {"PATH": "/usr/bin:/bin"}
run = processes.run(["bash", "-c", sys.argv[2]], env=env, timeout=600, context=context())
reactor.callWhenRunning(lambda: ensureDeferred(run))
reactor.run()
"""
