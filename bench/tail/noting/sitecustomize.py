"""Has a daemon note when it does what: put this directory into its PYTHONPATH, and name a directory in GNT_NOTES.

The program itself is unchanged and knows nothing of it; when the module that makes the daemon is loaded, some methods
are wrapped. At the end of the process a file of JSON lines is written: `[begin, end, what]`, in nanoseconds of the
clock that all processes of a machine share.
"""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

now = time.monotonic_ns
notes: list[tuple[int, int, str]] = []
"""Appending is one step for all threads."""


def around(owner: Any, name: str, what: str) -> None:
    """Note how long a method takes that blocks."""
    method = getattr(owner, name)

    def noted(*args: Any, **kwargs: Any) -> Any:
        begin, used = now(), time.thread_time_ns()
        try:
            return method(*args, **kwargs)
        finally:
            end, spent = now(), time.thread_time_ns() - used
            notes.append((begin, end, f"{what} (on a processor {spent / 1e6:.2f} ms)" if spent > 500_000 else what))

    setattr(owner, name, noted)


def across(owner: Any, name: str, what: Callable[..., str]) -> None:
    """Note how long a coroutine function takes from the call to the end, whatever else runs meanwhile."""
    method = getattr(owner, name)

    async def noted(*args: Any, **kwargs: Any) -> Any:
        begin = now()
        try:
            return await method(*args, **kwargs)
        finally:
            notes.append((begin, now(), what(*args)))

    setattr(owner, name, noted)


def collections() -> None:
    """Note what the collector does."""
    begun = [0]

    def hear(phase: str, facts: dict[str, int]) -> None:
        if phase == "start":
            begun[0] = now()
        else:
            notes.append((begun[0], now(), f"gc {facts['generation']}"))

    gc.callbacks.append(hear)


def pools() -> None:
    """Note how long a piece of work waits for its thread, and its end for the reactor."""
    from gnt.daemon import pools as module  # noqa: PLC0415

    named: Any = module._NamedPool  # noqa: SLF001
    run, ended = named.run, named._ended  # noqa: SLF001
    # By the Deferred's id: a list that has the time of the end, once the work has ended.
    ends: dict[int, list[int]] = {}

    def noted_run(self: Any, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        asked, end = now(), []

        def begun(*inner: Any, **named_inner: Any) -> Any:
            notes.append((asked, now(), f"pool {self._name}: until a thread has it"))
            try:
                return work(*inner, **named_inner)
            finally:
                end.append(now())

        waiting = run(self, begun, *args, **kwargs)
        ends[id(waiting)] = end
        return waiting

    def noted_ended(self: Any, waiting: Any, result: Any) -> None:
        end = ends.pop(id(waiting), None)
        if end:
            notes.append((end[0], now(), f"pool {self._name}: until the reactor hears"))
        ended(self, waiting, result)

    named.run, named._ended = noted_run, noted_ended  # noqa: SLF001


def both() -> None:
    """Wrap what master and node daemon share."""
    from gnt.store import database, vault  # noqa: PLC0415

    around(database, "apply_entry", "store: statement")
    around(database.Database, "append", "store: append")
    around(database.Database, "fold", "store: last fold")
    around(vault.FileVault, "checkpoint", "store: fold beside")
    collections()
    pools()


def master() -> None:
    """Wrap what only the master daemon has."""
    from gnt.masterd import luxi_server, replication  # noqa: PLC0415

    both()
    across(luxi_server.LuxiConnection, "_answer", lambda *_: "luxi: answer")
    around(luxi_server.LuxiConnection, "dataReceived", "luxi: read")
    across(replication.Follower, "_append", lambda self, *_: f"append to {self.node[:4]}")


def node() -> None:
    """Wrap what only the node daemon has."""
    from gnt.noded import replica  # noqa: PLC0415
    from gnt.wire import pb_broker  # noqa: PLC0415

    both()
    across(replica.Replica, "_append", lambda *_: "replica: append")
    around(pb_broker.BoundedBroker, "dataReceived", "pb: read")


WRAPPED = {"gnt.masterd.tap": master, "gnt.noded.tap": node}


def at_the_end(work: Callable[[], object]) -> None:
    """Do something when the reactor has stopped."""
    from twisted.internet.base import ReactorBase  # noqa: PLC0415

    run = ReactorBase.mainLoop

    def mainLoop(self: Any) -> None:  # noqa: N802
        run(self)
        work()

    ReactorBase.mainLoop = mainLoop  # type: ignore[method-assign]


def profile() -> None:
    """Have the reactor's thread profiled while it runs: instead of notes, which would be in it."""
    import cProfile  # noqa: PLC0415

    from twisted.internet.base import ReactorBase  # noqa: PLC0415

    run = ReactorBase.mainLoop
    profiler = cProfile.Profile()

    def mainLoop(self: Any) -> None:  # noqa: N802
        # The first moments are those of a start.
        self.callLater(float(os.environ["GNT_PROFILE"]), profiler.enable)
        run(self)
        profiler.disable()
        name = f"{os.environ.get('GNT_HOSTNAME', '')}-{os.getpid()}.prof"
        profiler.dump_stats(Path(os.environ["GNT_NOTES"]) / name)

    ReactorBase.mainLoop = mainLoop  # type: ignore[method-assign]


class _After(importlib.abc.MetaPathFinder):
    """Wraps once the module of a daemon is loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """Find it as others do, and have something done behind."""
        del path, target
        if name not in WRAPPED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None  # noqa: PT018
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if os.environ.get("GNT_PROFILE"):
                profile()
            else:
                WRAPPED[name]()
                at_the_end(partial(write, name.split(".")[1]))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def write(daemon: str) -> None:
    """Write down what was noted."""
    path = Path(os.environ["GNT_NOTES"]) / f"{daemon}-{os.environ.get('GNT_HOSTNAME', '')}-{os.getpid()}.json"
    if notes:
        path.write_text("".join(json.dumps(note) + "\n" for note in list(notes)))


if os.environ.get("GNT_NOTES"):
    sys.meta_path.insert(0, _After())
