"""Ground for tests of operations: a cluster, an engine on fake nodes that answer as healthy ones would."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed

import gnt.masterd.operations.all  # noqa: F401  (registers every operation)
from gnt.masterd.engine import Engine
from gnt.masterd.jobs.seam import OpcodeEnd
from gnt.masterd.operation import operation_for
from gnt.masterd.tools import Tools
from gnt.model.cluster import CONFIG_VERSION
from gnt.model.errors import GntError
from gnt.model.objects import Instance
from gnt.opcodes.base import Opcode
from gnt.opcodes.registry import decode_opcode
from gnt.wire.calls import DiskDevice, DiskFacts, HypervisorFacts, NodeFacts, NodeVersion, OsFacts, VerifyFacts
from gnt.wire.disk_calls import DiskState, MirrorOverview
from gnt.wire.guest_calls import GuestFacts, MigrationTicket
from tests.masterd.fakes import NODE1, Fresh, Journal, Nodes, Resolver, Run, cluster_of_three

NOOP = OsFacts(name="noop", path="/os/noop", valid=True, api_versions=[10])
DEBIAN = OsFacts(name="debian", path="/os/debian", valid=True, variants=["stable", "testing"], api_versions=[20])
BROKEN = OsFacts(name="broken", path="/os/broken", valid=False, diagnose="no create script")


class Ground:
    """A cluster of three on which opcodes are run as a client would submit them."""

    def __init__(self, **settings: Any) -> None:
        self.journal = Journal(cluster_of_three(**settings))
        self.guests: dict[str, dict[str, GuestFacts]] = {}
        self.memory_free = 4096
        self.nodes = Nodes(
            answers={
                "node_info": lambda _n, call: self.facts(list(call.hypervisors)),
                "os_list": lambda _n, _c: [NOOP, DEBIAN, BROKEN],
                "bridge_check": lambda _n, _c: [],
                "interface_check": lambda _n, _c: [],
                "disk_assemble": lambda _n, call: DiskDevice(path=str(call.disk.logical_id[1])),
                "guest_find": lambda node, call: self.guests.get(node, {}).get(call.uuid),
                "guest_list": lambda node, _c: list(self.guests.get(node, {}).values()),
                "guest_start": self._start,
                "guest_stop": lambda node, call: self.guests.get(node, {}).pop(call.uuid, None) and None,
                "migration_accept": lambda _n, call: MigrationTicket(hypervisor="fake", address=call.address),
                "migration_send": self._send,
                "node_verify": lambda _n, _c: self.verified(),
                "volume_list": lambda _n, _c: [],
                "mirror_list": lambda _n, _c: MirrorOverview(),
                "disk_states": lambda _n, call: [
                    DiskState(facts=DiskFacts(path="/x", size=disk.size)) for disk in call.disks
                ],
            }
        )
        self.fresh = Fresh()
        self.tools = Tools(self.journal, self.journal, self.nodes, self.nodes, Resolver(), _no_sleep)
        self.engine = Engine(self.tools)

    def facts(self, hypervisors: list[str]) -> NodeFacts:
        """Give what a node says of itself."""
        seen = HypervisorFacts(memory_total=8192, memory_free=self.memory_free, memory_dom0=512, cpu_total=4)
        return NodeFacts(boot_id="b", hypervisors=dict.fromkeys(hypervisors, seen))

    def verified(self, **changes: Any) -> VerifyFacts:
        """Give a node's good answer to a check."""
        version = NodeVersion(protocol=CONFIG_VERSION, release="0", name="node4.example.com", uuid="n4")
        return VerifyFacts(
            **{"version": version, "time": 1000.0, "certificate": "d4", "certificate_ends": 1e9, **changes}
        )

    def _start(self, node: str, call: Any) -> None:
        spec = call.instance
        facts = GuestFacts(
            name=spec.name, uuid=spec.uuid, hypervisor=spec.hypervisor, state="running", memory=128, vcpus=1
        )
        self.guests.setdefault(node, {})[spec.uuid] = facts

    def _send(self, node: str, call: Any) -> None:
        target = next(uuid for uuid, other in self.journal.head.nodes.items() if other.name == call.target)
        self.guests.setdefault(target, {})[call.instance.uuid] = self.guests[node].pop(call.instance.uuid)

    def run(self, op_id: str, **parameters: Any) -> OpcodeEnd:
        """Decode the opcode, take its locks' names, run it to its end."""
        op: Opcode = decode_opcode({"OP_ID": op_id, **parameters})
        run = Run(op)
        self.last, self.said = op, run.said
        try:
            operation = operation_for(op, self.fresh)
            self.locks = operation.locks(self.journal.head)
        except GntError as error:
            return OpcodeEnd(error=error)
        ended: list[Any] = []
        ensureDeferred(self.engine.run(run, operation)).addBoth(ended.append)
        assert ended, "the operation waits for something"
        if hasattr(ended[0], "raiseException"):
            ended[0].raiseException()
        assert run.end is not None
        return run.end

    def refused(self, op_id: str, **parameters: Any) -> str:
        """Run an opcode that must be refused: gives code, text and hint; nothing was changed."""
        before, made = self.journal.head, len(self.nodes.made)
        end = self.run(op_id, **parameters)
        assert end.error is not None, f"{op_id} was not refused: {end.result}"
        assert len(self.nodes.made) == made, self.nodes.tags()
        assert self.journal.head == before
        assert "\n" not in str(end.error)
        return f"{end.error.code}: {end.error.text} | {end.error.hint}"

    def add(self, name: str = "web1", **parameters: Any) -> OpcodeEnd:
        """Make an instance on node1 with one disk of 1 GiB and one interface."""
        given: dict[str, Any] = {
            "instance_name": name,
            "mode": "create",
            "disks": [{"size": 1024}],
            "nics": [{}],
            "os_type": "noop",
            "pnode": "node1",
            **parameters,
        }
        return self.run("OP_INSTANCE_CREATE", **given)

    def refused_add(self, **parameters: Any) -> str:
        """Try to make an instance that must be refused."""
        given: dict[str, Any] = {
            "instance_name": "web9",
            "mode": "create",
            "disks": [{"size": 1024}],
            "nics": [{}],
            "os_type": "noop",
            "pnode": "node1",
            **parameters,
        }
        return self.refused("OP_INSTANCE_CREATE", **given)

    def instance(self, name: str = "web1") -> Instance:
        """Give an instance of the model."""
        return self.journal.head.instance(name)


def _no_sleep(_seconds: float) -> Deferred[None]:
    return succeed(None)


__all__ = ["NODE1", "Ground"]
