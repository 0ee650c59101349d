"""The recorded settings of an instance, as changes to them ask for: parameters, interfaces, guest OS, wanted state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec.structs import replace

from gnt.masterd.operation import Fresh
from gnt.masterd.operations.instance_devices import NewDevices
from gnt.masterd.operations.instance_steps import refuse_running
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.objects import AdminState, Instance, Nic
from gnt.model.params import check_be, check_hv, check_os, fill_be, fill_hv, refuse_bad_be, refuse_bad_hv
from gnt.model.secret import REDACTED
from gnt.opcodes.devices import Change, as_changes
from gnt.opcodes.instance_modify import InstanceSetParams
from gnt.opcodes.parameter_types import NicParams
from gnt.wire.guest_calls import GuestFacts


class Settings:
    """Changes an instance's record. `said` are pairs for the opcode's result, once `changed` was asked."""

    def __init__(self, op: InstanceSetParams, fresh: Fresh) -> None:
        self._op = op
        self._fresh = fresh
        self.said: list[tuple[str, Any]] = []

    def changed(self, cluster: Cluster, instance: Instance) -> Instance:
        """Give the instance as it will be. Raises `Refused` and `Unsupported` naming the setting."""
        op = self._op
        for what in ("runtime_mem", "instance_communication"):
            if getattr(op, what) is not None:
                raise Unsupported(f"OP_INSTANCE_SET_PARAMS: {what} is not supported by this version")
        self.said = []
        hvparams = check_hv(instance.hypervisor, op.hvparams, instance.hvparams)
        beparams = check_be(op.beparams, instance.beparams)
        os = op.os_name or instance.os
        refuse_bad_be(fill_be(cluster, beparams))
        refuse_bad_hv(instance.hypervisor, fill_hv(cluster, instance.hypervisor, os, hvparams))
        self._say("be", op.beparams)
        self._say("hv", op.hvparams)
        self._say("os", op.osparams)
        self._say("os_private", dict.fromkeys(op.osparams_private or {}, REDACTED))
        if op.os_name:
            self.said.append(("os", os))
        return replace(
            self._elsewhere(cluster, instance),
            hvparams=hvparams,
            beparams=beparams,
            os=os,
            osparams=check_os(op.osparams, instance.osparams),
            osparams_private=check_os(op.osparams_private or {}, instance.osparams_private),
            nics=self._nics(cluster, instance),
            admin_state=self._state(instance),
        )

    def refuse_running(self, instance: Instance, guest: GuestFacts | None) -> None:
        """Refuse what only a stopped instance takes."""
        if self._op.offline is not None:
            refuse_running(instance, guest, "it cannot be marked")
        if self._op.pnode_uuid or self._op.pnode:
            refuse_running(instance, guest, "it cannot be recorded elsewhere")

    def _say(self, kind: str, given: Mapping[str, Any]) -> None:
        self.said += [(f"{kind}/{name}", value) for name, value in sorted(given.items())]

    def _state(self, instance: Instance) -> AdminState:
        if self._op.offline is None:
            return instance.admin_state
        if self._op.offline and instance.admin_state is AdminState.UP:
            raise Refused(
                WRONG_STATE, f"{instance.name} is wanted up", hint=f"gnt-instance shutdown {instance.name} comes first"
            )
        if not self._op.offline and instance.admin_state is not AdminState.OFFLINE:
            raise Refused(WRONG_STATE, f"{instance.name} is not marked offline")
        state = AdminState.OFFLINE if self._op.offline else AdminState.DOWN
        self.said.append(("admin_state", state))
        return state

    def _elsewhere(self, cluster: Cluster, instance: Instance) -> Instance:
        """Record another primary node, without moving any data."""
        named = self._op.pnode_uuid or self._op.pnode
        if named is None:
            return instance
        node = cluster.node(named)
        if node.uuid == instance.primary_node:
            raise Refused(WRONG_INPUT, f"{node.name} is the primary node of {instance.name} already")
        secondaries = cluster.secondary_uuids(instance)
        if secondaries and node.uuid not in secondaries:
            raise Refused(WRONG_STATE, f"{node.name} holds none of the mirrors of {instance.name}")
        self.said.append(("pnode", node.name))
        return replace(instance, primary_node=node.uuid)

    # Interfaces

    def _nics(self, cluster: Cluster, instance: Instance) -> tuple[Nic, ...]:
        nics = list(instance.nics)
        for change in as_changes(self._op.nics):
            self._change_nic(cluster, instance, nics, change)
        return tuple(nics)

    def _change_nic(self, cluster: Cluster, instance: Instance, nics: list[Nic], change: Change) -> None:
        if change.action in {"attach", "detach"}:
            raise Refused(WRONG_INPUT, f"nic: {change.action} is for disks", hint="add and remove are for interfaces")
        if change.action == "add":
            place = len(nics) if change.target in {-1, "-1"} else self._index(instance, nics, change.target, room=1)
            nics.insert(place, self._made(cluster, instance, nics, place, change.params))
            self.said.append((f"nic.{place}", f"add:mac={nics[place].mac}"))
            return
        place = self._index(instance, nics, change.target)
        old = nics.pop(place)
        if change.action == "remove":
            self.said.append((f"nic.{place}", "remove"))
            return
        if not change.params:
            raise Refused(WRONG_INPUT, f"nic/{place}: nothing is changed")
        if change.params.get("mac") == "auto":
            raise Refused(
                WRONG_INPUT, f"nic/{place}: mac=auto is for new interfaces", hint="mac=generate makes a new one"
            )
        as_it_is = {"mac": old.mac, "ip": old.ip, "name": old.name, **old.nicparams}
        if {"link", "bridge"} & change.params.keys():
            as_it_is.pop("link", None)
        made = self._made(cluster, instance, nics, place, {**as_it_is, **change.params})
        nics.insert(place, replace(made, uuid=old.uuid))
        self.said += [(f"nic.{key}/{place}", value) for key, value in sorted(change.params.items())]

    def _made(
        self, cluster: Cluster, instance: Instance, others: list[Nic], place: int, params: Mapping[str, Any]
    ) -> Nic:
        known = cluster.put(replace(instance, nics=tuple(others)))
        devices = NewDevices(known, self._fresh, conflicts_check=self._op.conflicts_check)
        return devices.nic(place, cast("NicParams", dict(params)))

    @staticmethod
    def _index(instance: Instance, nics: list[Nic], target: int | str, *, room: int = 0) -> int:
        text = str(target)
        if text.removeprefix("-").isdecimal():
            index = len(nics) - 1 if int(text) == -1 else int(text)
            if 0 <= index < len(nics) + room:
                return index
        found = [index for index, nic in enumerate(nics) if text in {nic.uuid, nic.name}]
        if len(found) != 1:
            raise Refused(WRONG_INPUT, f"{instance.name} has no interface {text[:60]!r}", hint=f"it has {len(nics)}")
        return found[0]
