"""Roles of nodes: what may become what, who fills the pool, and that one voter changes per commit."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.masterd.voting import voters
from gnt.model.cluster import CONFIG_VERSION
from gnt.model.errors import NotReached
from gnt.model.objects import Node
from gnt.wire.calls import NodeVersion
from tests.masterd.fakes import GROUP
from tests.masterd.operations.ground import Ground

MODIFY = "OP_NODE_SET_PARAMS"


class Roles(Ground):
    """Three candidates, node1 the master, and as many regular nodes as asked for; each commit is looked at."""

    def __init__(self, regular: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        self.nodes.answers["version"] = lambda _n, _c: NodeVersion(protocol=3010000, release="0", name="n", uuid="u")
        self.nodes.answers["rights"] = lambda _n, _c: True
        for number in range(4, 4 + regular):
            node = Node(
                uuid=f"u{number}", name=f"node{number}.example.com", primary_ip=f"192.0.2.{number}", group=GROUP
            )
            self.journal.head = self.journal.head.put(node)
        self.seen = voters(self.journal.head)
        self.history = [len(self.seen)]
        self.journal.on_commit = self._look

    def _look(self) -> None:
        now = voters(self.journal.head)
        assert len(now ^ self.seen) <= 1, "more than one voter changed in a commit"
        if now != self.seen:
            self.history.append(len(now))
        self.seen = now

    def node(self, name: str) -> Node:
        """Give a node."""
        return self.journal.head.node(name)

    def flags(self, name: str) -> str:
        """Give a node's roles as letters."""
        node = self.node(name)
        given = (("C", node.master_candidate), ("D", node.drained), ("O", node.offline))
        return "".join(letter for letter, has in given if has)

    def change(self, name: str, **flags: Any) -> Any:
        """Change a node; gives the result."""
        end = self.run(MODIFY, node_name=name, **flags)
        assert end.error is None, end.error
        return end.result


def test_the_table_of_roles() -> None:
    """From each role to each that can be asked for."""
    roles = Roles()
    assert roles.change("node2", master_candidate=False) == [["master_candidate", "False"]]
    assert roles.flags("node2") == ""
    assert roles.change("node2", master_candidate=True) == [["master_candidate", "True"]]
    assert roles.flags("node2") == "C"
    told = roles.change("node2", drained=True)
    assert told == [["drained", "True"], ["master_candidate", "auto-demotion due to drain"]]
    assert roles.flags("node2") == "D"
    assert "is drained" in roles.refused(MODIFY, node_name="node2", master_candidate=True)
    told = roles.change("node2", offline=True)
    assert told == [["offline", "True"], ["drained", "clear drained status due to offline"]]
    assert roles.flags("node2") == "O"
    assert "is offline" in roles.refused(MODIFY, node_name="node2", master_candidate=True)
    assert roles.change("node2", drained=True)[0] == ["drained", "True"]
    assert roles.flags("node2") == "D"
    told = roles.change("node2", drained=False)
    assert told == [["drained", "False"], ["master_candidate", "True"]]
    assert roles.flags("node2") == "C"
    roles.change("node3", offline=True)
    assert roles.flags("node3") == "O"
    roles.change("node3", offline=False, master_candidate=True)
    assert roles.flags("node3") == "C"
    assert roles.history == [3, 2, 3, 2, 3, 2, 3]


@pytest.mark.parametrize(
    ("node", "flags", "text"),
    [
        ("node2", {}, "wrong_input: Please pass at least one modification"),
        ("node2", {"offline": True, "drained": True}, "wrong_input: Can't set the node into more than one state"),
        ("node1", {"offline": True}, "wrong_input: The master role can be changed only via master-failover"),
        ("node1", {"drained": False}, "wrong_input: The master role"),
        ("node1", {"master_candidate": False}, "wrong_input: The master role"),
        ("node1", {"master_capable": False}, "wrong_input: The master role"),
        ("node2", {"powered": False}, "wrong_state: node2.example.com has no out-of-band program"),
        ("node2", {"master_candidate": True, "master_capable": False}, "wrong_state: node2.example.com is not master"),
        ("node2", {"secondary_ip": "192.0.2.9"}, "secondary_ip is not supported"),
        ("node2", {"ndparams": {"nonsense": 1}}, "wrong_input: "),
    ],
)
def test_what_is_refused(node: str, flags: dict[str, Any], text: str) -> None:
    """With its reason, and nothing is changed."""
    assert text in Roles().refused(MODIFY, node_name=node, **flags)


def test_a_node_that_hosts_instances_stays_vm_capable() -> None:
    """Without them it may lose the flag."""
    roles = Roles()
    roles.add(pnode="node2")
    assert "hosts instances (web1" in roles.refused(MODIFY, node_name="node2", vm_capable=False)
    assert roles.change("node3", vm_capable=False) == [["vm_capable", "False"]]


def test_the_pool_is_not_left_short() -> None:
    """A regular node could take the place: refused, unless others are to be promoted, or it is forced."""
    roles = Roles(regular=2, candidate_pool_size=3)
    refusal = roles.refused(MODIFY, node_name="node2", offline=True)
    assert "wrong_state: Too few master candidates remain" in refusal
    assert "--auto-promote" in refusal
    roles.change("node2", offline=True, auto_promote=True)
    assert (roles.flags("node2"), roles.flags("node4"), roles.flags("node5")) == ("O", "C", "")
    # First the new one, then the old: never fewer copies than before.
    assert roles.history == [3, 4, 3]
    assert roles.journal.head.settings.candidate_certs == {"u4": "d4"}
    assert roles.nodes.prepared == ["u4"]
    roles.change("node3", drained=True, force=True)
    assert any("fewer master candidates than wanted" in line for line in roles.said)
    assert roles.history == [3, 4, 3, 2]


def test_only_nodes_that_answer_are_promoted() -> None:
    """The next one takes the place; where none answers that is told."""
    roles = Roles(regular=2, candidate_pool_size=3)
    roles.nodes.answers["node_verify"] = lambda node, _c: NotReached("away") if node == "u4" else roles.verified()
    roles.change("node2", offline=True, auto_promote=True)
    assert roles.nodes.prepared == ["u5"]
    roles.change("node3", drained=True, auto_promote=True)
    assert any("lacks 1" in line for line in roles.said)


def test_a_node_that_comes_back_must_answer() -> None:
    """Silent, or of another release, it stays offline."""
    roles = Roles()
    roles.change("node2", offline=True)
    roles.nodes.answers["version"] = lambda _n, _c: NotReached("no connection")
    assert "node2.example.com does not answer" in roles.refused(MODIFY, node_name="node2", offline=False)
    old = NodeVersion(protocol=2000000, release="0", name="n", uuid="u")
    roles.nodes.answers["version"] = lambda _n, _c: old
    assert "speaks protocol 2000000" in roles.refused(MODIFY, node_name="node2", offline=False)


def test_a_node_that_was_started_a_moment_ago_answers() -> None:
    """Its link was refused while it was away, and tries again later: it is sought over a connection of its own."""
    roles = Roles()
    roles.change("node2", offline=True)

    def answer(node: str, _call: Any) -> Any:
        if node != "node2.example.com":
            return NotReached("no connection to node2: refused")
        return NodeVersion(protocol=CONFIG_VERSION, release="0", name="node2", uuid="u2")

    roles.nodes.answers["version"] = answer
    roles.change("node2", offline=False)
    assert "O" not in roles.flags("node2")


def test_a_node_that_missed_new_certificates_does_not_come_back_by_a_flag() -> None:
    """It would refuse every change, and nobody would say why; it is told the remedy instead."""
    roles = Roles()
    roles.change("node2", offline=True)
    roles.nodes.answers["rights"] = lambda _n, _c: False
    refusal = roles.refused(MODIFY, node_name="node2", offline=False)
    assert "does not know this master's certificate" in refusal
    assert roles.flags("node2") == "O"


def test_a_node_that_is_powered_off_cannot_be_online() -> None:
    """With an out-of-band program its power is recorded; both flags may change together."""
    roles = Roles()
    roles.change("node2", ndparams={"oob_program": "/usr/sbin/oob"}, offline=True)
    assert roles.change("node2", powered=False) == [["powered", "False"]]
    assert "recorded as powered off" in roles.refused(MODIFY, node_name="node2", offline=False)
    roles.change("node2", offline=False, powered=True)
    assert roles.flags("node2") == "C"


def test_a_node_that_cannot_be_promoted_comes_back_as_a_regular_one() -> None:
    """That it shall be online is what was asked for; why it is no candidate is told."""
    roles = Roles()
    roles.change("node2", offline=True)
    roles.nodes.answers["node_verify"] = lambda _n, _c: NotReached("busy")
    assert roles.change("node2", offline=False) == [["offline", "False"]]
    assert roles.flags("node2") == ""
    assert any("does not become a master candidate: node2.example.com: busy" in line for line in roles.said)


def test_capabilities_and_parameters() -> None:
    """Losing the capability demotes; having it again promotes in a pool that is short."""
    roles = Roles()
    told = roles.change("node2", master_capable=False)
    assert told == [
        ["master_candidate", "auto-demotion due to loss of master capability"],
        ["master_capable", "False"],
    ]
    assert "not master capable" in roles.refused(MODIFY, node_name="node2", master_candidate=True)
    roles.change("node2", master_capable=True)
    assert roles.flags("node2") == "C"
    roles.change("node2", ndparams={"ssh_port": 2222})
    assert roles.node("node2").ndparams == {"ssh_port": 2222}


def test_a_dry_run_changes_nothing() -> None:
    """It says what would change."""
    roles = Roles()
    before = roles.journal.head
    end = roles.run(MODIFY, node_name="node2", offline=True, dry_run=True)
    assert end.error is None
    assert end.result == [["offline", "True"], ["master_candidate", "auto-demotion due to offline"]]
    assert roles.journal.head == before


def test_removing_a_candidate_has_another_take_its_place() -> None:
    """Demoted, told to leave, forgotten; then the pool is filled, one voter a commit."""
    roles = Roles(regular=1, candidate_pool_size=3)
    assert roles.run("OP_NODE_REMOVE", node_name="node3").error is None
    assert roles.flags("node4") == "C"
    assert roles.history == [3, 2, 3]


def test_several_are_promoted_one_by_one() -> None:
    """When the pool was short by more than one."""
    roles = Roles(regular=3, candidate_pool_size=10)
    roles.journal.head = roles.journal.head.put(replace(roles.node("node3"), master_candidate=False))
    roles.seen = voters(roles.journal.head)
    roles.change("node2", drained=True, auto_promote=True)
    assert roles.history == [3, 3, 4, 5, 6, 5]
