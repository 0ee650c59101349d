"""How the parts of the node daemon take calls.

Each part (`guests`, `disks`, `guest_os`, `node`, `replica`) has a method `handlers()` that gives a table from the
class of a call to a coroutine function. `calls.py` does what is common to all: epochs, the call table, lanes,
deadlines, answers. A handler awaits; what blocks goes to a named pool of the runtime.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gnt.daemon.runtime import Runtime
from gnt.model.epoch import Epoch
from gnt.model.layout import Layout
from gnt.wire.calls import NodeCall


@dataclass
class CallContext:
    """What a handler knows of the call besides its arguments.

    `on_abort` holds functions that end the work under way (kill a process group, abort a libvirt job); a fence or an
    abort calls them, and waits for the handler to end; the deadline calls them too. `progress` sends a line to the
    master, at most advice.
    """

    id: str
    epoch: Epoch | None
    progress: Callable[[str], None]
    on_abort: list[Callable[[], None]] = field(default_factory=list)


Handler = Callable[[Any, CallContext], Awaitable[Any]]
Handlers = Mapping[type[NodeCall[Any]], Handler]


@dataclass(frozen=True)
class Place:
    """Where this node daemon lives: its paths, its name, what it runs on."""

    layout: Layout
    name: str
    runtime: Runtime
