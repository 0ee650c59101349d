"""Plans in words: one line for each step, and the locks, with names that people know. Pure.

1 keep     instance web1: admin_state up → down
2 forward  node2 guest_stop web1 (up to 120 s)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from gnt.masterd.jobs.lockset import EVERY, LEVEL_NAMES, Level, Locks
from gnt.masterd.plan import (
    Action,
    Await,
    ByItself,
    ByMaster,
    Entrust,
    Forget,
    Forward,
    Keep,
    Note,
    Pause,
    Plan,
    Promote,
    Reconnect,
    Release,
    Reserve,
    Step,
    Tell,
    Together,
    Uncertain,
    Undoable,
)
from gnt.model.cluster import Cluster, kind_of
from gnt.model.objects import ClusterSettings, ConfigObject, Disk, JobFilter
from gnt.model.specs import DiskSpec, InstanceSpec, shown_device
from gnt.wire.calls import Delay, NodeCall, OsCreate
from gnt.wire.disk_calls import DiskGrow, StorageModify
from gnt.wire.guest_calls import DevicePlug, DeviceUnplug, DiskResized, GuestStop, MigrationSend

LONGEST: Final = 60
UNSAID: Final = frozenset({"serial_no", "mtime", "ctime", "uuid"})
SECRET: Final = frozenset({"osparams_private", "osparams_private_cluster"})


class StepText(msgspec.Struct, frozen=True, kw_only=True):
    """One step: its number (steps that go side by side share one), kind, node and call if it has them, and the rest."""

    number: int
    kind: str
    node: str = ""
    call: str = ""
    text: str = ""


class LockText(msgspec.Struct, frozen=True, kw_only=True):
    """One lock: level, name, and `exclusive` or `shared`."""

    level: str
    name: str
    mode: str


def lock_texts(locks: Locks, cluster: Cluster) -> list[LockText]:
    """Say which locks an opcode takes, in order; the shared lock of the cluster, which all take, is left out."""
    return [
        LockText(
            level=LEVEL_NAMES[lock.level],
            name=_lock_name(lock.level, lock.name, cluster),
            mode="exclusive" if lock.exclusive else "shared",
        )
        for lock in sorted(locks.wanted)
    ]


def _lock_name(level: Level, name: str, cluster: Cluster) -> str:
    if level is Level.CLUSTER or name == EVERY:
        return "all"
    if level is Level.NODEGROUP:
        group = cluster.groups.get(name)
        return group.name if group is not None else name
    if level is Level.NETWORK:
        network = cluster.networks.get(name)
        return network.name if network is not None else name
    return node_name(name, cluster)


def lock_name(lock: str, cluster: Cluster) -> str:
    """Give a lock as people know it: `node/node2.example.com` for `node/<uuid>`."""
    level, _, name = lock.partition("/")
    found = next((each for each, text in LEVEL_NAMES.items() if text == level), None)
    return lock if found is None or name == EVERY else f"{level}/{_lock_name(found, name, cluster)}"


def node_name(uuid: str, cluster: Cluster) -> str:
    """Give a node's name; what is no node's UUID stays as it is."""
    node = cluster.nodes.get(uuid)
    return node.name if node is not None else uuid


def step_texts(plan: Plan, cluster: Cluster, first: int = 1) -> list[StepText]:
    """Say what the steps of a plan are, in order, numbered from `first`; the plan was made for `cluster`."""
    found: list[StepText] = []
    for number, step in enumerate(plan.steps, first):
        found.extend(_texts(number, step, cluster))
        cluster = _after_step(step, cluster)
    return found


def after_plan(plan: Plan, cluster: Cluster) -> Cluster | None:
    """Give what the model is after a plan; None if its steps ask something that only nodes can answer."""
    for step in plan.steps:
        if isinstance(step, Undoable | Forward | Uncertain | Together | ByMaster):
            return None
        cluster = _after_step(step, cluster)
    return cluster


def _after_step(step: Step, cluster: Cluster) -> Cluster:
    if isinstance(step, Reserve | Keep):
        for obj in step.objects:
            cluster = cluster.put(obj)
    elif isinstance(step, Forget):
        for obj in step.objects:
            cluster = cluster.drop(obj)
    return cluster


def nodes_of(texts: Sequence[StepText]) -> list[str]:
    """Give the names of the nodes that steps touch, each once, in order."""
    return list(dict.fromkeys(text.node for text in texts if text.node))


def _texts(number: int, step: Step, cluster: Cluster) -> Iterator[StepText]:
    match step:
        case Undoable() | Forward() | Uncertain():
            yield _call_text(number, step, step.do, cluster)
        case Together(steps):
            for each in steps:
                yield _call_text(number, each, each.do, cluster)
        case Reserve(objects) | Keep(objects) | Forget(objects):
            words = _changes if not isinstance(step, Forget) else _named
            text = "; ".join(words(obj, cluster) for obj in objects)
            yield StepText(number=number, kind=_kind(step), text=text)
        case _:
            yield _by_itself(number, step, cluster)


def _by_itself(number: int, step: ByItself, cluster: Cluster) -> StepText:
    kind = _kind(step)
    match step:
        case Note(text):
            return StepText(number=number, kind=kind, text=text.strip().removeprefix("- "))
        case Pause(seconds):
            return StepText(number=number, kind=kind, text=f"{seconds:g} s")
        case Await(ask, until, _):
            node = node_name(ask.node, cluster)
            return StepText(number=number, kind=kind, node=node, call=ask.call.tag(), text=f"until {until}")
        case Release(levels):
            return StepText(number=number, kind=kind, text=", ".join(LEVEL_NAMES[level] for level in levels))
        case Promote(node):
            return StepText(number=number, kind=kind, node=node_name(node, cluster), text="gets a copy of the store")
        case _:
            return _by_master(number, step, cluster)


def _by_master(number: int, step: ByMaster, cluster: Cluster) -> StepText:
    match step:
        case Tell(anew):
            text = "tell every online node anew" if anew else "wait until every online node knows what is true now"
            return StepText(number=number, kind="tell", text=text)
        case Reconnect():
            return StepText(number=number, kind="reconnect", text="new connections, with the certificate of now")
        case Entrust(node, rapi):
            text = f"gets the key of the {'remote API' if rapi else 'authority'}"
            return StepText(number=number, kind="entrust", node=node_name(node, cluster), text=text)


def _kind(step: Step) -> str:
    return type(step).__name__.lower()


def _call_text(number: int, step: Undoable | Forward | Uncertain, action: Action, cluster: Cluster) -> StepText:
    return StepText(
        number=number,
        kind=_kind(step),
        node=node_name(action.node, cluster),
        call=action.call.tag(),
        text=_argument(action.call),
    )


def _argument(call: NodeCall[Any]) -> str:
    """Give the main argument of a call."""
    special = _ARGUMENTS.get(type(call))
    if special is not None:
        return special(call)
    instance, disk, name = (getattr(call, field, None) for field in ("instance", "disk", "name"))
    if isinstance(instance, InstanceSpec):
        return instance.name
    if isinstance(disk, DiskSpec):
        return _disk(disk)
    return name if isinstance(name, str) else ""


def _stop(call: GuestStop) -> str:
    return f"{call.name} ({f'up to {call.timeout} s' if call.timeout else 'at once'})"


def _disk(disk: DiskSpec) -> str:
    owner = f"{disk.instance_name}: " if disk.instance_name else ""
    return f"{owner}disk/{disk.index} {disk.dev_type} {disk.size} MiB"


_ARGUMENTS: Final[dict[type[Any], Callable[[Any], str]]] = {
    DiskGrow: lambda call: f"{_disk(call.disk)} to {call.size} MiB",
    StorageModify: lambda call: f"{call.name}: {'' if call.allocatable else 'not '}allocatable",
    GuestStop: _stop,
    Delay: lambda call: f"{call.seconds:g} s",
    DevicePlug: lambda call: f"{call.instance.name}: {shown_device(call.instance, call.device)}",
    DeviceUnplug: lambda call: f"{call.name}: {call.shown}",
    DiskResized: lambda call: f"{call.name}: {call.size} MiB",
    MigrationSend: lambda call: f"{call.instance.name} to {call.target}",
    OsCreate: lambda call: f"{call.instance.name} ({call.instance.os})",
}


# Objects


def _named(obj: ConfigObject, cluster: Cluster) -> str:
    """Name an object as people do."""
    match obj:
        case ClusterSettings():
            return "cluster"
        case Disk():
            owners = [each for each in cluster.instances.values() if obj.uuid in each.disks]
            where = f" of {owners[0].name}" if owners else ""
            return f"disk{f' {obj.name}' if obj.name else ''}{where} ({obj.dev_type}, {obj.size} MiB)"
        case JobFilter():
            return f"filter {obj.uuid}"
    return f"{kind_of(obj)} {obj.name}"


def _changes(obj: ConfigObject, cluster: Cluster) -> str:
    """Say what is new about an object."""
    old = _stored(obj, cluster)
    if old is None:
        return f"new {_named(obj, cluster)}"
    found = []
    for field in obj.__struct_fields__:
        before, after = getattr(old, field), getattr(obj, field)
        if before != after and field not in UNSAID:
            found.append(_change(field, before, after, cluster))
    return f"{_named(obj, cluster)}: {', '.join(found) or 'as it is'}"


def _stored(obj: ConfigObject, cluster: Cluster) -> ConfigObject | None:
    if isinstance(obj, ClusterSettings):
        return cluster.settings
    tables: tuple[Any, ...] = (
        cluster.instances,
        cluster.nodes,
        cluster.disks,
        cluster.groups,
        cluster.networks,
        cluster.filters,
    )
    found = (table.get(obj.uuid) for table in tables)
    return next((old for old in found if type(old) is type(obj)), None)


def _change(field: str, before: Any, after: Any, cluster: Cluster) -> str:
    old, new = _value(before, cluster), _value(after, cluster)
    if field in SECRET or old is None or new is None:
        return f"{field} changed"
    return f"{field} {old} → {new}"


def _value(value: Any, cluster: Cluster) -> str | None:
    """Give a value in a word; None for what does not fit on a line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if not isinstance(value, str | int | float):
        return None
    text = node_name(value, cluster) if isinstance(value, str) else f"{value}"
    return (text or '""') if len(text) <= LONGEST and text.isprintable() else None
