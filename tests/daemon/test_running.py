"""Pools, readiness, options."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from gnt.daemon import readiness
from gnt.daemon.options import DaemonOptions, refuse_start
from gnt.daemon.pools import ThreadPools
from gnt.daemon.reactor import real_runtime
from gnt.model.errors import Refused


class Busy:
    """Work that sees how many do it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.most: list[int] = []
        self.order: list[int] = []

    def work(self, number: int) -> None:
        """Take a moment."""
        with self._lock:
            self._running += 1
            self.most.append(self._running)
            self.order.append(number)
        time.sleep(0.005)
        with self._lock:
            self._running -= 1


class PoolTests(TestCase):
    """Real threads."""

    def setUp(self) -> None:
        """Make pools, one of them with a single thread."""
        self.pools = ThreadPools(reactor, {"one": 1, "two": 2})

    async def test_work_runs_in_a_thread_of_that_name(self) -> None:
        """The result comes back on the reactor's thread."""
        name = await self.pools("storage").run(lambda: threading.current_thread().name)
        assert "storage" in name
        assert threading.current_thread() is threading.main_thread()
        await self.pools.stop()

    async def test_failure_comes_back(self) -> None:
        """What the work raises, the waiter gets."""

        def work() -> None:
            raise OSError("no")

        await self.assertFailure(self.pools("one").run(work), OSError)
        await self.pools.stop()

    async def test_pool_of_one_keeps_order_and_sizes_are_kept(self) -> None:
        """Never more at once than there are threads."""
        for name, size in (("one", 1), ("two", 2)):
            busy = Busy()
            await DeferredList([self.pools(name).run(busy.work, number) for number in range(6)])
            assert max(busy.most) == size
            if size == 1:
                assert busy.order == list(range(6))
        await self.pools.stop()

    async def test_stop_waits_for_what_was_begun(self) -> None:
        """Work that waits is done as well; afterwards nothing is taken."""
        done: list[int] = []
        pool = self.pools("one")
        for number in range(3):
            pool.run(done.append, number)
        await self.pools.stop()
        assert done == [0, 1, 2]
        with pytest.raises(RuntimeError, match="stopped"):
            pool.run(done.append, 4)
        with pytest.raises(RuntimeError, match="stopped"):
            self.pools("two")

    async def test_runtime_is_made_of_them(self) -> None:
        """The reactor's time, the system's randomness."""
        runtime, pools = real_runtime()
        assert abs(runtime.now() - time.time()) < 5
        assert runtime.uuid() != runtime.uuid()
        assert len(runtime.token(16)) == 32
        await runtime.pools("storage").run(lambda: None)
        await pools.stop()


def test_systemd_is_told(tmp_path: Path) -> None:
    """One datagram for each state."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        assert readiness.ready(environ, "serves node1")
        assert readiness.stopping(environ)
        assert [channel.recv(100), channel.recv(100)] == [b"READY=1\nSTATUS=serves node1", b"STOPPING=1"]


def test_abstract_socket_is_told() -> None:
    """A name that begins with @ is in no file system."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        name = f"gnt-test-{threading.get_native_id()}"
        channel.bind("\0" + name)
        assert readiness.ready({"NOTIFY_SOCKET": "@" + name})
        assert channel.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_to_tell(environ: dict[str, str]) -> None:
    """Without systemd nothing happens."""
    assert not readiness.ready(environ)


class Options(DaemonOptions):
    """Options of some daemon."""

    PROGRAM = "gnt-test"
    PORT = 1234


def parse(*words: str) -> Any:
    """Parse a command line."""
    options = Options()  # type: ignore[no-untyped-call]
    options.parseOptions(list(words))  # type: ignore[no-untyped-call]
    return options


def test_defaults() -> None:
    """Its own port, all addresses, quiet, detached."""
    options = parse()
    assert (options["port"], options["bind"], options["syslog"]) == (1234, None, "no")
    assert (bool(options["debug"]), options.in_foreground) == (False, False)


def test_options_of_the_specification() -> None:
    """Short and long."""
    options = parse("-f", "-d", "-b", "192.0.2.1", "-p", "7", "--syslog=only")
    assert (options["bind"], options["port"], options["syslog"]) == ("192.0.2.1", 7, "only")
    assert options.in_foreground


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-p", "many"], "--port"),
        (["-p", "70000"], "--port"),
        (["-p", "-1"], "--port"),
        (["--syslog=perhaps"], "--syslog"),
        (["extra"], "'extra'"),
        (["--no-such-option"], "no-such-option"),
    ],
)
def test_what_makes_no_sense_is_named(words: list[str], text: str) -> None:
    """One line with the option."""
    with pytest.raises(UsageError, match=text):
        parse(*words)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Program and version, exit code 0."""
    with pytest.raises(SystemExit) as ended:
        parse("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("gnt-test (gnt) ")


def test_refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Program, text, remedy; the exit code is the one given."""
    with pytest.raises(SystemExit) as ended:
        refuse_start("gnt-test", Refused("wrong_state", "no cluster here", hint="gnt-cluster init"), 5)
    assert ended.value.code == 5
    assert capsys.readouterr().err == "gnt-test: no cluster here (gnt-cluster init)\n"
