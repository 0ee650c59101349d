"""Operations on nodes and on the cluster as a whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred, ensureDeferred

from gnt.masterd.jobs.seam import OpcodeEnd
from gnt.masterd.segments import StoredCall
from gnt.masterd.settling import Debt
from gnt.masterd.unsafe import UnsafeRecord
from gnt.model.errors import InDoubt, NodeFailure, NotReached
from gnt.model.objects import AdminState, Disk, DiskTemplate, Instance
from gnt.model.specs import DiskSpec
from gnt.opcodes.registry import decode_opcode
from gnt.opcodes.verify import ClusterVerifyConfig, ClusterVerifyGroup
from gnt.store.changes import Space
from gnt.wire.calls import DiskFacts, DiskRemove, NodeVersion
from gnt.wire.disk_calls import DiskState, ProviderFacts
from gnt.wire.guest_calls import GuestFacts
from tests.masterd.fakes import NODE1, NODE2, NODE3, Run
from tests.masterd.operations.ground import Ground


def test_a_node_joins_and_becomes_a_candidate() -> None:
    """It is recorded first, prepared to vote, then a candidate whose certificate counts."""
    ground = Ground()
    assert ground.run("OP_NODE_ADD", node_name="node4.example.com").error is None
    node = ground.journal.head.node("node4")
    assert (node.primary_ip, node.master_candidate) == ("192.0.2.99", True)
    assert ground.nodes.prepared == ["n4"]
    assert ground.journal.head.settings.candidate_certs == {"n4": "d4"}


def test_a_full_pool_takes_no_candidate() -> None:
    """With the pool full the node stays regular."""
    ground = Ground(candidate_pool_size=3)
    assert ground.run("OP_NODE_ADD", node_name="node4.example.com").error is None
    assert not ground.journal.head.node("node4").master_candidate
    assert ground.nodes.prepared == []


def test_nodes_that_cannot_join() -> None:
    """Each refusal names what is wrong."""
    ground = Ground()
    assert "already_exists" in ground.refused("OP_NODE_ADD", node_name="node1.example.com")
    assert "does not resolve" in ground.refused("OP_NODE_ADD", node_name="node4.elsewhere.org")
    assert "not a node" in ground.refused("OP_NODE_ADD", node_name="node4.example.com", readd=True)
    assert "is the master" in ground.refused("OP_NODE_ADD", node_name="node1.example.com", readd=True)
    taken = ground.refused("OP_NODE_ADD", node_name="node4.example.com", primary_ip="192.0.2.1")
    assert "192.0.2.1 is already an address of node1.example.com" in taken
    dual = ground.refused("OP_NODE_ADD", node_name="node4.example.com", secondary_ip="198.51.100.4")
    assert "no secondary address" in dual
    ground.nodes.answers["node_verify"] = lambda _n, _c: NotReached("no connection")
    assert "environment_error" in ground.refused("OP_NODE_ADD", node_name="node4.example.com")
    old = NodeVersion(protocol=2000000, release="0", name="node4.example.com", uuid="n4")
    ground.nodes.answers["node_verify"] = lambda _n, _c: ground.verified(version=old)
    assert "speaks protocol 2000000" in ground.refused("OP_NODE_ADD", node_name="node4.example.com")


def test_a_node_leaves() -> None:
    """Its vote goes first, then it forgets the cluster, then the cluster forgets it."""
    ground = Ground()
    assert ground.run("OP_NODE_REMOVE", node_name="node3").error is None
    assert ground.nodes.tags() == ["leave_cluster"]
    assert len(ground.journal.head.nodes) == 2


def test_a_dead_node_can_be_removed() -> None:
    """That it cannot be told is a warning, and nothing is owed by a node that is gone."""
    ground = Ground()
    ground.nodes.answers["leave_cluster"] = lambda _n, _c: NotReached("no connection")
    assert ground.run("OP_NODE_REMOVE", node_name="node3").error is None
    assert any("WARNING" in line for line in ground.said)
    assert len(ground.journal.head.nodes) == 2
    assert not ground.journal.rows_.keys() & {key for key in ground.journal.rows_ if key[0] == "debt"}


class Dead(BaseException):
    """The master died here."""


def cut_off(ground: Ground, op_id: str, moment: str, **parameters: Any) -> OpcodeEnd:
    """Have the master die at a moment of an opcode, and another settle what is left."""

    async def die(node: str) -> None:
        raise Dead(node)

    def die_at(_node: str, call: Any) -> None:
        if call.tag() == moment:
            raise Dead(moment)

    prepare = ground.nodes.prepare
    if moment == "prepare":
        ground.nodes.prepare = die  # type: ignore[method-assign]
    else:
        ground.nodes.before = die_at
    with pytest.raises(Dead):
        ground.run(op_id, **parameters)
    ground.nodes.prepare, ground.nodes.before = prepare, lambda _n, _c: None  # type: ignore[method-assign]
    run = Run(decode_opcode({"OP_ID": op_id, **parameters}))
    Deferred.fromCoroutine(ground.engine.recover(run))
    assert run.end is not None
    assert run.end.error is not None
    return run.end


def test_a_node_that_was_to_become_a_candidate_becomes_one_after_the_death_of_the_master() -> None:
    """It was recorded already; a job of its own promotes it, submitted with the end of the one that was cut off."""
    ground = Ground()
    end = cut_off(ground, "OP_NODE_ADD", "prepare", node_name="node4.example.com")
    assert not ground.journal.head.node("node4").master_candidate
    [[op]] = end.jobs
    assert (op.op_id(), op.node_name, op.master_candidate) == ("OP_NODE_SET_PARAMS", "node4.example.com", True)  # type: ignore[attr-defined]
    assert op.reason[0][1] == "adding node4.example.com was cut off"
    assert ground.run("OP_NODE_SET_PARAMS", node_name=op.node_name, master_candidate=True).error is None  # type: ignore[attr-defined]
    assert ground.journal.head.node("node4").master_candidate


def test_the_pool_is_filled_after_a_removal_that_was_cut_off() -> None:
    """The removal itself is finished by recovery."""
    ground = Ground(candidate_pool_size=3)
    assert ground.run("OP_NODE_ADD", node_name="node4.example.com").error is None
    ground.nodes.outcomes["7/0/0/1"] = "done"
    end = cut_off(ground, "OP_NODE_REMOVE", "leave_cluster", node_name="node3")
    assert "node3" not in {node.name.partition(".")[0] for node in ground.journal.head.nodes.values()}
    assert [op.node_name for (op,) in end.jobs] == ["node4.example.com"]  # type: ignore[attr-defined]


def test_what_a_node_owes_is_told_when_it_leaves() -> None:
    """Nobody will pay it any more."""
    ground = Ground()
    debt = Debt(opcode="5/0", node=NODE3, id="5/0/0/1", text="undo disk_create: no connection")
    ground.journal.rows_[Space.DEBT, f"{NODE3}/5/0/0/1"] = msgspec.json.encode(debt)
    assert ground.run("OP_NODE_REMOVE", node_name="node3").error is None
    assert any("is let off as it leaves: undo disk_create" in line for line in ground.said)


@pytest.mark.parametrize("before", ["no connection", "stuck: a lease is held"])
def test_what_a_node_owes_is_verified_with_what_keeps_it_and_what_helps(before: str) -> None:
    """One line: what it answered last, once, and the remedy; then how debts end."""
    ground = Ground()
    remove = StoredCall(NODE3, DiskRemove(disk=DiskSpec(uuid="d", dev_type=DiskTemplate.EXT, index=0, size=1)))
    debt = Debt(opcode="5/0", node=NODE3, id="5/0/0/1", text=f"undo disk_create: {before}", call=remove)
    ground.journal.rows_[Space.DEBT, f"{NODE3}/5/0/0/1"] = msgspec.json.encode(debt)
    ground.nodes.answers["disk_remove"] = lambda _node, _call: NodeFailure(
        "storage_error", "stuck: a lease is held", hint="its log is in /var/log"
    )
    payment = ensureDeferred(ground.engine.pay(NODE3))
    assert len(payment.result.open) == 1  # type: ignore[attr-defined]
    ground.run("OP_CLUSTER_VERIFY_CONFIG")
    [line, notice] = [line for line in ground.said if "owe" in line]
    more = "" if before.startswith("stuck") else "; at the last try: stuck: a lease is held"
    assert line.endswith(f"node node3.example.com: owes: undo disk_create: {before}{more} (its log is in /var/log)")
    assert "tried again every minute" in notice
    assert "gnt-node remove" in notice
    del ground.nodes.answers["disk_remove"]
    assert len(ensureDeferred(ground.engine.pay(NODE3)).result.paid) == 1  # type: ignore[attr-defined]
    ground.run("OP_CLUSTER_VERIFY_CONFIG")
    assert not any("owe" in line for line in ground.said)
    assert not ground.tools.unpaid


def test_nodes_that_cannot_leave() -> None:
    """The master, and one with instances."""
    ground = Ground()
    assert "master node" in ground.refused("OP_NODE_REMOVE", node_name="node1")
    ground.add(pnode="node2")
    assert "Instance web1" in ground.refused("OP_NODE_REMOVE", node_name="node2")


def test_a_cluster_with_something_in_it_is_not_destroyed() -> None:
    """Other nodes and instances are named."""
    ground = Ground()
    assert "other nodes: node2.example.com node3.example.com" in ground.refused("OP_CLUSTER_DESTROY")
    for name in ("node2", "node3"):
        ground.run("OP_NODE_REMOVE", node_name=name)
    names = [f"web{number}" for number in range(1, 13)]
    for name in names:
        ground.add(instance_name=name)
    assert "and 2 more" in ground.refused("OP_CLUSTER_DESTROY")
    for name in names[1:]:
        ground.run("OP_INSTANCE_REMOVE", instance_name=name)
    assert "instances: web1" in ground.refused("OP_CLUSTER_DESTROY")
    ground.run("OP_INSTANCE_REMOVE", instance_name="web1")
    assert ground.run("OP_CLUSTER_DESTROY").result == "node1.example.com"


def test_verify_submits_one_job_for_each_group() -> None:
    """The group's job waits for the one about the configuration."""
    end = Ground().run("OP_CLUSTER_VERIFY", error_codes=True)
    (config,), (group,) = end.jobs
    assert isinstance(config, ClusterVerifyConfig)
    assert isinstance(group, ClusterVerifyGroup)
    assert (group.depends, group.error_codes) == (((-1, ()),), True)


def test_a_healthy_group_verifies() -> None:
    """No error, the result is true."""
    ground = Ground()
    ground.add()
    end = ground.run("OP_CLUSTER_VERIFY_GROUP", group_name="default")
    assert (end.result, end.error) == (True, None), ground.said


def found(ground: Ground, **answers: Any) -> list[str]:
    """Verify with some answers changed; gives the lines with their codes."""
    ground.nodes.answers.update({tag: (lambda _n, _c, value=value: value) for tag, value in answers.items()})
    end = ground.run("OP_CLUSTER_VERIFY_GROUP", group_name="default", error_codes=True)
    assert end.result is (not any("ERROR" in line for line in ground.said))
    return [line.strip() for line in ground.said if line.startswith("  - ")]


def test_verify_looks_at_files() -> None:
    """Of instances that are down too: a disk that is gone is found before the instance is needed."""
    ground = Ground()
    assert ground.add(disk_template="file").error is None
    (web,) = ground.journal.head.instances.values()
    ground.journal.head = ground.journal.head.put(replace(web, admin_state=AdminState.DOWN, disks_active=False))
    there = DiskState(facts=DiskFacts(path="/x", size=1024))
    assert not any("DISK" in line for line in found(ground, guest_list=[], disk_states=[there]))
    (disk,) = ground.journal.head.disks.values()
    says = f"disk/0 on node1.example.com is not there: no file {disk.logical_id[1]}"
    assert f"- ERROR:EINSTANCEMISSINGDISK:instance:web1:{says}" in found(
        ground, guest_list=[], disk_states=[DiskState()]
    )
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.instances[web.uuid], forthcoming=True))
    assert not any("DISK" in line for line in found(ground, guest_list=[], disk_states=[DiskState()]))


def test_what_verify_finds() -> None:
    """Each trouble with its code and its item."""
    ground = Ground()
    ground.add()
    stranger = GuestFacts(name="old1", uuid="u-old", hypervisor="fake", state="running", memory=1, vcpus=1)
    lines = found(ground, guest_list=[stranger])
    assert "- ERROR:EINSTANCEDOWN:instance:web1:does not run on its node node1.example.com" in lines
    assert any("ENODEORPHANINSTANCE:node:node1.example.com" in line for line in lines)
    ground = Ground()
    assert any("ENODERPC:node:node2.example.com" in line for line in found(ground, node_verify=NotReached("cut off")))
    ground = Ground()
    assert any("ENODETIME" in line for line in found(ground, node_verify=ground.verified(time=5000.0)))
    ground = Ground()
    assert any("ENODENET" in line for line in found(ground, node_verify=ground.verified(unreachable={"x": "no"})))
    ground = Ground()
    assert any("ECLUSTERCERT" in line for line in found(ground, node_verify=ground.verified(certificate_ends=1.0)))


def test_changes_without_a_majority_are_told_for_as_long_as_the_past_is_kept() -> None:
    """What was struck off, when and by what; it is a warning."""
    ground = Ground()
    for time, node in ((1000.0 - 91 * 86400, "node8"), (900.0, "node9")):
        record = UnsafeRecord(time=time, epoch="3.n", nodes=[node], by="gnt-masterd --no-voting")
        ground.journal.rows_[Space.META, f"unsafe/{time:017.6f}/x"] = msgspec.json.encode(record)
    ground.run("OP_CLUSTER_VERIFY_CONFIG", error_codes=True)
    lines = [line for line in ground.said if "without a majority" in line]
    assert len(lines) == 1
    assert "WARNING:ECLUSTERCFG:cluster:None:on 1970-01-01 00:15:00 UTC gnt-masterd" in lines[0]
    assert "struck off node9" in lines[0]


def test_files_with_what_a_log_has_lost_are_told_with_their_node() -> None:
    """Somebody should read them, then move them away."""
    lines = found(ground := Ground(), node_verify=ground.verified(kept_aside=["/var/lib/ganeti/config.db.lost-2-7-9"]))
    assert any("WARNING:ENODEFILECHECK:node:node2" in line and "config.db.lost-2-7-9" in line for line in lines)


def test_a_remark_of_a_hypervisor_is_no_error() -> None:
    """Guests that run by emulation are worth a notice; a hypervisor that does not answer is an error."""
    ground = Ground()
    lines = found(ground, node_verify=ground.verified(hypervisors={"kvm": "note: guests run by emulation"}))
    assert "- NOTICE: node node1.example.com: kvm: guests run by emulation" in lines
    assert not any("ENODEHV" in line for line in lines)
    ground = Ground()
    assert any("ENODEHV" in line for line in found(ground, node_verify=ground.verified(hypervisors={"kvm": "gone"})))


def test_emulation_that_the_cluster_wants_is_not_remarked() -> None:
    """With `kvm_flag=disabled` nobody expects anything else."""
    ground = Ground(enabled_hypervisors=("kvm",), hvparams={"kvm": {"kvm_flag": "disabled"}})
    assert found(ground, node_verify=ground.verified(hypervisors={"kvm": "note: guests run by emulation"})) == []


def test_a_guest_on_the_wrong_node_is_found() -> None:
    """Named with both nodes."""
    ground = Ground()
    ground.add()
    uuid = ground.instance().uuid
    ground.guests[NODE2] = {uuid: ground.guests[NODE1].pop(uuid)}
    assert any("EINSTANCEWRONGNODE:instance:web1" in line for line in found(ground))


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        (
            AdminState.DOWN,
            (
                "- WARNING:EINSTANCEDOWN:instance:web1:is wanted down, but runs on its node node1.example.com: "
                "gnt-instance shutdown stops it, gnt-instance startup has it wanted up"
            ),
        ),
        (
            AdminState.OFFLINE,
            (
                "- ERROR:EINSTANCEDOWN:instance:web1:is marked offline, but runs on its node node1.example.com: "
                "gnt-instance shutdown --force stops it"
            ),
        ),
    ],
)
def test_a_guest_that_runs_though_it_should_not_is_found(wanted: AdminState, line: str) -> None:
    """A warning where somebody may have wanted it so, an error where nobody looks after it."""
    ground = Ground()
    ground.add()
    assert found(ground) == []
    ground.journal.head = ground.journal.head.put(replace(ground.instance(), admin_state=wanted))
    assert found(ground) == [line]
    ground.guests[NODE1].clear()
    ground.said.clear()
    assert found(ground) == []


def test_a_node_without_which_an_instance_cannot_be_moved_is_found() -> None:
    """Its secondary node is offline; or one of its nodes is not to have instances at all."""
    ground = Ground(enabled_disk_templates=(DiskTemplate.DRBD,))
    disk = Disk(uuid="d-1", dev_type=DiskTemplate.DRBD, size=128, nodes=(NODE1, NODE2))
    web = Instance(uuid="u-1", name="web1", primary_node=NODE1, disks=(disk.uuid,))
    ground.journal.head = ground.journal.head.put(disk).put(web)
    node2 = ground.journal.head.node("node2")
    ground.journal.head = ground.journal.head.put(replace(node2, offline=True, master_candidate=False))
    bad = [line for line in found(ground) if "BADNODE" in line]
    assert bad == ["- ERROR:EINSTANCEBADNODE:instance:web1:its secondary node node2.example.com is offline"]
    ground.said.clear()
    ground.journal.head = ground.journal.head.put(replace(node2, vm_capable=False))
    bad = [line for line in found(ground) if "BADNODE" in line]
    text = "its node node2.example.com is not to have instances (vm_capable is off)"
    assert bad == [f"- ERROR:EINSTANCEBADNODE:instance:web1:{text}"]


def test_an_offline_node_is_no_error_but_its_instances_are() -> None:
    """It is not asked, it is noted."""
    ground = Ground()
    ground.add(pnode="node2")
    node = ground.journal.head.node("node2")
    ground.journal.head = ground.journal.head.put(replace(node, offline=True, master_candidate=False))
    lines = found(ground)
    assert any("EINSTANCEBADNODE:instance:web1" in line for line in lines)
    assert not any("ENODERPC" in line for line in lines)


def test_guest_os_definitions_of_all_nodes() -> None:
    """Valid on all, or partly; variants that all have."""
    ground = Ground()
    rows = ground.run("OP_OS_DIAGNOSE", output_fields=["name", "valid", "variants"]).result
    assert rows == [["broken", False, []], ["debian", True, ["stable", "testing"]], ["noop", True, []]]
    assert "Unknown output fields" in ground.refused("OP_OS_DIAGNOSE", output_fields=["nope"])


def test_storage_providers_of_all_nodes() -> None:
    """Rows of the wanted fields; a provider that is on no node has none, a node that does not answer is said."""
    ground = Ground()
    ground.nodes.answers["provider_list"] = lambda _n, _c: [
        ProviderFacts(name="san", path="/s/san", valid=True, parameters=[("pool", "where")])
    ]
    ask = {"output_fields": ["name", "nodegroup_status", "parameters"]}
    row = ["san", {"default": True}, [["pool", "where"]]]
    assert ground.run("OP_EXT_STORAGE_DIAGNOSE", **ask).result == [row]
    assert ground.run("OP_EXT_STORAGE_DIAGNOSE", **ask, names=["nope", "san"]).result == [row]
    assert ground.run("OP_EXT_STORAGE_DIAGNOSE", **ask, names=["nope"]).result == []
    assert "Unknown output fields selected: nope, no" in ground.refused(
        "OP_EXT_STORAGE_DIAGNOSE", output_fields=["nope", "no"]
    )


def test_a_delay_sleeps_on_nodes_side_by_side() -> None:
    """Twice on two nodes is four calls; a negative one is refused."""
    ground = Ground()
    end = ground.run("OP_TEST_DELAY", duration=0.1, on_master=False, on_nodes=["node1", "node2"], repeat=2)
    assert end.error is None
    assert ground.nodes.tags() == ["delay"] * 4
    assert "negative" in ground.refused("OP_TEST_DELAY", duration=-1)


def test_a_delay_that_was_cut_off_is_not_slept_again() -> None:
    """It changes nothing, so there is nothing to finish: a node that is away owes no sleep."""
    ground = Ground()
    ground.nodes.answers["delay"] = lambda _n, call: InDoubt(f"nobody knows how {call.tag()} ended")
    end = ground.run("OP_TEST_DELAY", duration=60.0, on_master=False, on_nodes=["node2"])
    assert "nobody knows" in str(end.error)
    assert ground.nodes.tags() == ["delay"]
    assert not [key for space, key in ground.journal.rows_ if space is Space.DEBT]


def test_an_opcode_without_operation_is_refused_by_name() -> None:
    """It is known, but not supported."""
    assert "OP_BACKUP_REMOVE is not supported" in Ground().refused("OP_BACKUP_REMOVE", instance_name="web1")
