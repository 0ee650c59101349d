"""What jobs would do, in words: the same plans that the engine runs, and nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import ensureDeferred

from gnt.masterd.absent import WHY_ABSENT
from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import OPERATIONS
from gnt.masterd.plan import Forget, Keep, Note, Pause, Plan, Promote, Reserve, Together, Undoable, on
from gnt.masterd.plan_text import StepText, after_plan, lock_name, lock_texts, step_texts
from gnt.masterd.planning import Planner
from gnt.model.errors import NotReached
from gnt.model.objects import JobFilter
from gnt.opcodes.registry import ALL, decode_opcode
from gnt.opcodes.test import TestDelay as SleepOpcode
from gnt.wire.calls import Delay
from tests.masterd.fakes import GROUP, NODE1, NODE2, Resolver
from tests.masterd.operations.ground import Ground


@pytest.fixture
def ground() -> Ground:
    """Give a cluster of three with a running instance."""
    made = Ground()
    assert made.add(disk_template="sharedfile").error is None
    return made


def planned(ground: Ground, op_id: str, **parameters: Any) -> dict[str, Any]:
    """Plan one opcode, and see that nothing is changed by that."""
    planner = Planner(ground.journal, ground.journal, ground.nodes, Resolver(), ground.fresh)
    before, made, commits = ground.journal.head, len(ground.nodes.made), len(ground.journal.commits)
    found: list[Any] = []
    ensureDeferred(planner.plan([decode_opcode({"OP_ID": op_id, **parameters})])).addBoth(found.append)
    assert isinstance(found[0], list), found
    assert (ground.journal.head, len(ground.nodes.made), len(ground.journal.commits)) == (before, made, commits)
    (plan,) = found[0]
    assert isinstance(plan, dict)
    return plan


def lines(plan: dict[str, Any]) -> list[str]:
    """Give the steps as a person sees them."""
    steps: list[StepText] = plan["steps"]
    return [" ".join(filter(None, (str(s.number), s.kind, s.node, s.call, s.text))) for s in steps]


def test_a_shutdown(ground: Ground) -> None:
    """The wish, the stop, the disks; names instead of identifiers."""
    plan = planned(ground, "OP_INSTANCE_SHUTDOWN", instance_name="web1")
    assert lines(plan) == [
        "1 keep instance web1: admin_state up → down",
        "2 forward node1.example.com guest_stop web1 (up to 120 s)",
        "3 forward node1.example.com disk_release web1: disk/0 sharedfile 1024 MiB",
        "4 keep instance web1: disks_active yes → no",
    ]
    assert [(lock.level, lock.name, lock.mode) for lock in plan["locks"]] == [("instance", "web1", "exclusive")]
    assert plan["nodes"] == ["node1.example.com"]
    assert (plan["summary"], plan["refused"], plan["then"]) == ("INSTANCE_SHUTDOWN(web1)", None, [])


def test_a_migration_says_what_comes_later(ground: Ground) -> None:
    """The first stage is planned; of the second it is said what it does. Both nodes are touched or locked by name."""
    plan = planned(ground, "OP_INSTANCE_MIGRATE", instance_name="web1", target_node="node2")
    assert plan["refused"] is None
    assert lines(plan)[-1].startswith(str(len(plan["steps"])))
    assert any("migration_accept" in line for line in lines(plan))
    assert plan["then"] == ["send the guest, record where it is, clean up behind it"]
    assert [lock.name for lock in plan["locks"] if lock.level == "node"] == ["node1.example.com", "node2.example.com"]


def test_a_creation(ground: Ground) -> None:
    """New objects, disks, guest OS, start; notes of the observation are told."""
    plan = planned(
        ground,
        "OP_INSTANCE_CREATE",
        instance_name="web2",
        mode="create",
        disks=[{"size": 1024}],
        nics=[{}],
        os_type="noop",
        pnode="node1",
        disk_template="sharedfile",
    )
    shown = lines(plan)
    assert any("reserve" in line and "new instance web2" in line for line in shown), shown
    assert any("disk_create web2: disk/0 sharedfile 1024 MiB" in line for line in shown), shown
    assert any("os_create web2 (noop)" in line for line in shown), shown
    assert any("guest_start web2" in line for line in shown), shown


def test_what_grows_says_how_far(ground: Ground) -> None:
    """The size that the disk gets stands beside the one it has."""
    plan = planned(ground, "OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=1024)
    assert any("disk_grow web1: disk/0 sharedfile 1024 MiB to 2048 MiB" in line for line in lines(plan))


def test_jobs_that_would_be_submitted_are_told(ground: Ground) -> None:
    """An opcode that only hands out work has no steps of its own."""
    plan = planned(ground, "OP_NODE_MIGRATE", node_name="node1", target_node="node2")
    assert plan["steps"] == []
    assert plan["then"] == ["a job of its own: INSTANCE_MIGRATE(web1)"]
    plan = planned(ground, "OP_CLUSTER_VERIFY_DISKS")
    assert plan["then"] == ["a job of its own: GROUP_VERIFY_DISKS(default)"]


def test_stages_that_ask_no_node_are_planned_one_after_the_other(ground: Ground) -> None:
    """Each on the model that the one before leaves; the numbers go on."""
    plan = planned(ground, "OP_NODE_SET_PARAMS", node_name="node3", drained=True)
    assert plan["refused"] is None
    assert plan["then"] == []
    shown = lines(plan)
    assert [line.split()[0] for line in shown] == [str(number) for number in range(1, len(shown) + 1)]
    assert any("drained no → yes" in line for line in shown), shown
    assert any("master_candidate yes → no" in line for line in shown), shown


def test_what_a_stage_makes_is_known_to_its_later_steps(ground: Ground) -> None:
    """An object that was reserved is not new when it is kept."""
    web2 = replace(ground.instance(), uuid="u2", name="web2")
    plan = Plan((Reserve((replace(web2, forthcoming=True),)), Keep((web2,)), Forget((web2,))))
    assert [step.text for step in step_texts(plan, ground.journal.head, 5)] == [
        "new instance web2",
        "instance web2: forthcoming yes → no",
        "instance web2",
    ]
    assert [step.number for step in step_texts(plan, ground.journal.head, 5)] == [5, 6, 7]
    assert after_plan(plan, ground.journal.head) == ground.journal.head
    assert after_plan(Plan((Undoable(on(NODE1, Delay(seconds=1)), undo=None),)), ground.journal.head) is None


def test_a_refusal_is_shown_as_one(ground: Ground) -> None:
    """Whether the locks, the observation or the plan refuses; the locks that were known are told."""
    plan = planned(ground, "OP_INSTANCE_STARTUP", instance_name="nowhere")
    assert plan["refused"]["code"] == "unknown_entity"
    assert plan["locks"] == plan["steps"] == []
    plan = planned(ground, "OP_INSTANCE_MIGRATE", instance_name="web1", target_node="node1")
    assert plan["refused"]["code"] == "wrong_state"
    ground.nodes.answers["guest_find"] = lambda _n, _c: NotReached("node1 does not answer")
    plan = planned(ground, "OP_INSTANCE_SHUTDOWN", instance_name="web1")
    assert plan["refused"] == {"code": "not_reached", "text": "node1 does not answer", "hint": ""}
    assert [lock.name for lock in plan["locks"]] == ["web1"]


def test_a_node_that_is_yet_to_be_set_up(ground: Ground) -> None:
    """It cannot be asked; what follows once it can is known, and so is what would be refused then."""
    ground.nodes.answers["node_verify"] = lambda _n, _c: NotReached("nobody is there")
    plan = planned(ground, "OP_NODE_ADD", node_name="node9.example.com", primary_ip="192.0.2.9")
    assert plan["refused"] is None
    assert [(lock.level, lock.name, lock.mode) for lock in plan["locks"]] == [("cluster", "all", "exclusive")]
    assert (plan["steps"], plan["then"]) == (
        [],
        [
            "node9.example.com (192.0.2.9) is recorded as a regular node of the group default",
            "node9.example.com gets the log of the cluster and becomes a master candidate",
        ],
    )
    taken = planned(ground, "OP_NODE_ADD", node_name="node9.example.com", primary_ip="192.0.2.1")
    assert taken["refused"]["code"] == "resource_not_unique"
    unknown = planned(ground, "OP_NODE_ADD", node_name="node9.example.com", primary_ip="192.0.2.9", group="nope")
    assert unknown["refused"]["code"] == "unknown_entity"


def test_whatever_is_not_carried_out_says_why() -> None:
    """Each opcode has an operation, or a reason; none has both."""
    carried_out = {str(opcode.__struct_config__.tag) for opcode in OPERATIONS}
    assert not carried_out & set(WHY_ABSENT)
    assert carried_out | set(WHY_ABSENT) >= set(ALL)
    assert all(WHY_ABSENT.values())


def test_an_opcode_of_a_later_version_is_refused(ground: Ground) -> None:
    """By name."""
    plan = planned(ground, "OP_TEST_DUMMY", result=1, messages=[], fail=False, submit_jobs=None)
    assert "not supported" in plan["refused"]["text"]
    assert plan["refused"]["hint"] == WHY_ABSENT["OP_TEST_DUMMY"]


def test_a_fault_of_ours_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a job would tell it, and the others are planned all the same."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(OPERATIONS[SleepOpcode], "locks", broken)
    assert planned(ground, "OP_TEST_DELAY", duration=1)["refused"]["code"] == "internal_error"


def test_every_kind_of_step_has_words(ground: Ground) -> None:
    """Steps that go side by side share a number; a secret that changes is not shown."""
    cluster = ground.journal.head
    web1 = ground.instance()
    make = on(NODE1, Delay(seconds=1.5))
    there = on(NODE2, Delay(seconds=2))
    plan = Plan(
        (
            Together((Undoable(make, undo=None), Undoable(there, undo=None))),
            Pause(3),
            Note(" - INFO: careful"),
            Promote(NODE2),
            Keep((replace(web1, osparams_private={"password": "x"}, primary_node=NODE2), replace(cluster.settings))),
            Keep((JobFilter(uuid="f"),)),
            Forget((web1, *cluster.disks_of(web1))),
        )
    )
    assert [
        " ".join(filter(None, (str(s.number), s.kind, s.node, s.call, s.text))) for s in step_texts(plan, cluster)
    ] == [
        "1 undoable node1.example.com delay 1.5 s",
        "1 undoable node2.example.com delay 2 s",
        "2 pause 3 s",
        "3 note INFO: careful",
        "4 promote node2.example.com gets a copy of the store",
        (
            "5 keep instance web1: primary_node node1.example.com → node2.example.com, osparams_private changed;"
            " cluster: as it is"
        ),
        "6 keep new filter f",
        "7 forget instance web1; disk of web1 (sharedfile, 1024 MiB)",
    ]


def test_locks_have_names(ground: Ground) -> None:
    """Of nodes, groups and whole levels; what is not known keeps its identifier."""
    locks = (
        Locks()
        .whole_cluster()
        .shared(Level.NODEGROUP, GROUP)
        .every(Level.NODE)
        .shared(Level.NETWORK, "n1")
        .exclusive(Level.NODE_RES, NODE1)
    )
    assert [(lock.level, lock.name, lock.mode) for lock in lock_texts(locks, ground.journal.head)] == [
        ("cluster", "all", "exclusive"),
        ("nodegroup", "default", "shared"),
        ("node", "all", "shared"),
        ("node-res", "node1.example.com", "exclusive"),
        ("network", "n1", "shared"),
    ]
    assert lock_name(f"node/{NODE1}", ground.journal.head) == "node/node1.example.com"
    assert lock_name("node/[lockset]", ground.journal.head) == "node/[lockset]"
    assert lock_name("instance/web1", ground.journal.head) == "instance/web1"
