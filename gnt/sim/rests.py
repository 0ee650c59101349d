"""States of a cluster at rest, by what may make a difference: from equal ones a story goes on equally.

After a fault a story is told on until the cluster is at rest and has been checked; what is left of it is told once from
each state that is found there. A state is all that there is, but for what is only a name for something or says when:
moments, serial numbers, UUIDs and digests (each by the order in which it comes), epochs (by their order), the numbers
and texts of jobs that are over. All daemons run then, no job does, nothing is on its way; of what they have in memory
the timers that they have set, the connections, and the fences are looked at.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gnt.sim.checkers.reading import master_node, store_of
from gnt.sim.clock import LifeClock
from gnt.sim.generations import Metadata
from gnt.sim.lives import MasterdLife
from gnt.sim.lvm import SimVolume
from gnt.sim.machine import SimNode
from gnt.store.changes import Space
from gnt.wire.memory import MemoryLink

if TYPE_CHECKING:
    from gnt.sim.client import Client

_NAMED: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32,}")
_MOMENT: Final = re.compile(r"[0-9.]{6,}/")
_FORGETTING: Final = frozenset({"timer dict.pop"})
"""Timers after which a daemon only knows something less: of a token that somebody has joined with, or that is over."""
_SHORTEST: Final = 32
"""Characters of the shortest text that may hold such a name."""
_WHEN: Final = frozenset({"ctime", "mtime", "serial_no", "time"})
_OF_JOBS: Final = frozenset({"last_job", "cluster_serial"})
"""Rows that say how far numbers have come."""


def state_of(client: Client, labels: dict[str, int]) -> str:
    """Give a digest of the state that the cluster of a client is in, at rest; `labels` are jobs with a name."""
    numbers: dict[str, str] = {}

    def by_order(found: re.Match[str]) -> str:
        return numbers.setdefault(found.group(), f"#{len(numbers)}")

    # Where a world lies is not in it.
    lines = "\n".join(_lines(client, labels)).replace(str(client.world.shared.parent), "")
    text = _NAMED.sub(by_order, lines)
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(client: Client, labels: dict[str, int]) -> Iterator[str]:
    world = client.world
    node = master_node(world)
    if node is None:
        yield "no master"
        return
    yield f"master {node.name}"
    with store_of(node) as store:
        rows = {key: _without_when(msgspec.json.decode(value)) for key, value in store.rows(Space.OBJECT)}
        meta = [(key, value) for key, value in store.rows(Space.META) if key not in _OF_JOBS]
    # The UUIDs of two worlds have nothing to do with each other: what has a name goes by that, in the order too.
    names = _names(rows)
    lines = (f"{_named(key, names)} {_encode(_named(row, names))}" for key, row in rows.items())
    yield from sorted(lines, key=lambda line: _NAMED.sub("", line))
    yield from sorted((_meta(key, value, names) for key, value in meta), key=lambda line: _NAMED.sub("", line))
    ends = {name: client.ends[number].status if number in client.ends else "" for name, number in labels.items()}
    yield f"jobs {sorted(ends.items())} excused {sorted(client.excused())} {sorted(client.unstopped())}"
    ledger = (len(world.ledger.lost), len(world.ledger.held))
    yield f"lost {sorted(world.lost_guests)} {world.something_was_lost} {ledger}"
    yield f"ways {world.ways.all_open()} held {world.holds()}"
    order = sorted({world.witness.promised(name) for name in world.nodes})
    for each in world.nodes.values():
        yield from _machine(each, order)
    calls = [call for call in world.clock.getDelayedCalls() if not _is_void(call)]
    yield from sorted(text for text in map(_timer, calls) if text not in _FORGETTING)


def _machine(node: SimNode, order: list[int]) -> Iterator[str]:
    """Tell what is on one machine besides the configuration, which the checkers have found to be the same on all."""
    layout = node.layout
    kept = [path.name for path in (layout.config_db, layout.config_data, layout.authority_key) if path.exists()]
    yield f"{node.name} {node.powered} {sorted(node.wanted)} {node.masterd is not None} {node.noded is not None} {kept}"
    yield f"{node.time.ahead:.0f} {node.pace} {node.disk_full} {sorted(node.addresses.up)}"
    yield f"guests {[guest.name for guest in node.hypervisor.running()]} {node.hypervisor.expected()}"
    yield f"epoch {order.index(node.world.witness.promised(node.name))}"
    for minor, side in sorted(node.storage.machine.sides.items()):
        state = (side.connection, side.disk, side.primary, side.dual, side.size, side.sync is not None)
        yield f"mirror {minor} {state}"
    volumes = (f"volume {key} {one.size} {_known(one)}" for key, one in node.storage.lvm.volumes.items())
    yield from sorted(volumes, key=lambda line: _NAMED.sub("", line))
    yield f"lost {len(node.storage.lvm.lost)}"
    if node.masterd is not None:
        yield from _peers(node.masterd)


def _known(volume: SimVolume) -> str:
    """Tell what a mirror knows of its data, if this is its metadata volume: what it does when it is set up again."""
    known = volume.superblock
    return known.outline() if isinstance(known, Metadata) else ""


def _peers(life: MasterdLife) -> Iterator[str]:
    daemon: Any = life.daemon
    nodes, cluster = daemon._term.nodes, life.daemon.cluster  # noqa: SLF001  (nobody else needs to know)
    for node in sorted(cluster.nodes.values(), key=lambda node: node.name) if cluster is not None else ():
        fenced, connected = nodes.is_fenced(node.uuid), nodes.is_connected(node.uuid)
        yield f"peer {node.name} {fenced} {connected} {bool(nodes.problem(node.uuid))}"


def _is_void(call: Any) -> bool:
    """Say whether a timer will do nothing: a dead daemon's, or for the answer to a call that nobody waits for."""
    owner = getattr(call.func, "__self__", None)
    if isinstance(owner, LifeClock):
        return not owner.alive
    return isinstance(owner, MemoryLink) and len(call.args) == 2 and not owner.is_open(call.args[0])


def _timer(call: Any) -> str:
    """Say what a timer is for."""
    function, words = call.func, call.args
    if getattr(function, "__name__", "") == "timer" and words:
        function = words[0]
    return f"timer {getattr(function, '__qualname__', type(function).__name__)}"


def _meta(key: str, value: bytes, names: Mapping[str, str]) -> str:
    """Tell what stands in a row about the cluster as a whole; some keys begin with a moment."""
    key = _MOMENT.sub("", key)
    try:
        row = _without_when(msgspec.json.decode(value))
    except msgspec.DecodeError:
        row = value.decode(errors="replace")
    return f"{_named(key, names)} {_encode(_named(row, names))}"


def _names(rows: Mapping[str, Any]) -> dict[str, str]:
    """Give objects their names in place of their UUIDs; disks and interfaces by their instance and place."""
    names = {row["uuid"]: f"({row['name']})" for row in rows.values() if row.get("name") and "uuid" in row}
    for row in rows.values():
        for place, disk in enumerate(row.get("disks") or ()):
            names[disk] = f"({row['name']} disk {place})"
        for place, nic in enumerate(row.get("nics") or ()):
            names[nic["uuid"]] = f"({row['name']} nic {place})"
    return names


def _named(row: Any, names: Mapping[str, str]) -> Any:
    """Give a row with names in place of UUIDs, wherever they stand."""
    if isinstance(row, str):
        if len(row) < _SHORTEST:
            return row
        return _NAMED.sub(lambda found: names.get(found.group(), found.group()), row)
    if isinstance(row, dict):
        return {_named(name, names): _named(value, names) for name, value in row.items()}
    if isinstance(row, list):
        named = [_named(one, names) for one in row]
        # What stands in the order of its UUIDs; disks have their place in their name.
        return sorted(named) if all(isinstance(one, str) and one in names for one in row) else named
    return row


def _without_when(row: Any) -> Any:
    if isinstance(row, dict):
        return {name: _without_when(value) for name, value in row.items() if name not in _WHEN}
    return [_without_when(one) for one in row] if isinstance(row, list) else row


def _encode(row: Any) -> str:
    return msgspec.json.encode(row, order="deterministic").decode()
