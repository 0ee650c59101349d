"""Daemons ask the kernel for short turns: for their threads that others wait for, and for nothing that they start."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

import pytest

from gnt.daemon import pools, turns
from gnt.daemon.pools import ThreadPools

T = TypeVar("T")

OLD_KERNEL = tuple(int(part) for part in platform.release().split(".")[:2]) < (6, 12)
needs_kernel = pytest.mark.skipif(OLD_KERNEL, reason="Linux before 6.12 has turns of one length")


def in_a_thread(work: Callable[[], T]) -> T:
    """Do something in a thread of its own, so that this process stays as it is."""
    found: list[T] = []
    thread = Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@needs_kernel
def test_a_thread_has_short_turns_and_nothing_else_changes() -> None:
    """The policy and the nice value, by which shares are given, are what they were."""

    def asked() -> tuple[Any, bool, Any]:
        return turns.turns(), turns.ask_for_short_turns(), turns.turns()

    before, taken, after = in_a_thread(asked)
    assert taken
    assert after[3] == turns.SHORT_TURN < before[3]
    assert (after[0], after[2]) == (before[0], before[2])


@needs_kernel
def test_what_it_starts_has_turns_as_ever() -> None:
    """A guest, or any command."""

    def started() -> str:
        turns.ask_for_short_turns()
        words = (sys.executable, "-c", "from gnt.daemon import turns; print(turns.turns()[3])")
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    assert int(in_a_thread(started)) > turns.SHORT_TURN


@needs_kernel
def test_pools_that_a_change_goes_through_have_short_turns_and_others_do_not() -> None:
    """Who copies disks or asks hypervisors computes, or waits for them."""

    class Reactor:
        """Calls at once: the test waits for the threads' end."""

        def callFromThread(self, function: Callable[..., object], *args: Any) -> None:
            function(*args)

    assert "store" in pools.QUICK
    assert "storage" not in pools.QUICK
    made = ThreadPools(Reactor())
    found: dict[str, int] = {}
    for name in ("store", "storage"):
        pool = made(name)
        pool.run(turns.turns).addCallback(lambda own, name=name: found.update({name: own[3]}))
        for thread in pool._threads:
            pool._work.put(None)
            thread.join()
    assert found["store"] == turns.SHORT_TURN < found["storage"]


def test_a_machine_that_is_not_known_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of system calls differ; a wrong one would do something else."""
    monkeypatch.setattr("gnt.daemon.turns.platform.machine", lambda: "vax")
    monkeypatch.setattr("gnt.daemon.turns.ctypes.CDLL", None)
    assert turns.turns() is None
    assert not turns.ask_for_short_turns()


def test_who_has_been_given_precedence_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator who runs a daemon in real time has said more than we would."""
    monkeypatch.setattr("gnt.daemon.turns.turns", lambda: (os.SCHED_RR, 0, 0, 0))
    monkeypatch.setattr("gnt.daemon.turns.ctypes.CDLL", None)
    assert not turns.ask_for_short_turns()
