"""Questions asked as jobs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.masterd.fakes import NODE1
from tests.masterd.operations.ground import Ground


def result(ground: Ground, op_id: str, **parameters: Any) -> Any:
    """Run an opcode that must succeed, and give its result."""
    end = ground.run(op_id, **parameters)
    assert end.error is None
    return end.result


def test_a_query_as_a_job() -> None:
    """It answers like the direct one, asking nodes where it must, and changes nothing."""
    ground = Ground()
    ground.add()
    ground.nodes.made.clear()
    answer = result(
        ground, "OP_QUERY", what="instance", fields=["name", "oper_state", "nope"], qfilter=["=", "name", "web1"]
    )
    assert [each["kind"] for each in answer["fields"]] == ["text", "bool", "unknown"]
    ((name, running, nope),) = answer["data"]
    assert (name[0], name[1].startswith("web1"), running[0], nope) == (0, True, 0, (1, None))
    assert ground.nodes.tags() == []


def test_a_bad_filter_in_a_job() -> None:
    """It is refused as it is over LUXI."""
    refusal = Ground().refused("OP_QUERY", what="node", fields=["name"], qfilter=["=", "nme", "x"])
    assert "Can't find field named 'nme'" in refusal


def test_jobs_do_not_see_the_queue() -> None:
    """Jobs and locks are asked for directly; nothing is locked for a question."""
    ground = Ground()
    assert "cannot be queried by a job" in ground.refused("OP_QUERY", what="job", fields=["id"])
    assert "cannot be queried by a job" in ground.refused("OP_QUERY", what="lock", fields=["name"])


def test_fields_and_description() -> None:
    """Definitions of fields, the description of the cluster, single values: unknown to a job is null."""
    ground = Ground()
    found = result(ground, "OP_QUERY_FIELDS", what="node", fields=["name"])
    assert [each["name"] for each in found["fields"]] == ["name"]
    assert result(ground, "OP_CLUSTER_QUERY")["master"] == "node1.example.com"
    names = ["cluster_name", "drain_flag", "nope"]
    assert result(ground, "OP_CLUSTER_CONFIG_QUERY", output_fields=names) == ["cluster.example.com", None, None]
    assert result(ground, "OP_QUERY", what="cluster", fields=["drain_flag"])["data"] == [((2, None),)]


def test_tags() -> None:
    """Tags are listed, and searched by a regular expression that cannot take forever."""
    ground = Ground()
    node = ground.journal.head.nodes[NODE1]
    ground.journal.head = ground.journal.head.put(replace(node, tags=("prod", "loud")))
    settings = replace(ground.journal.head.settings, tags=("proto",))
    ground.journal.head = ground.journal.head.put(settings)
    assert result(ground, "OP_TAGS_GET", kind="node", name="node1") == ["loud", "prod"]
    assert result(ground, "OP_TAGS_GET", kind="cluster") == ["proto"]
    assert result(ground, "OP_TAGS_SEARCH", pattern="^pro") == [
        ["/cluster", "proto"],
        ["/nodes/node1.example.com", "prod"],
    ]
    assert "could take forever" in ground.refused("OP_TAGS_SEARCH", pattern="(a+)+")
    assert "unknown_entity" in ground.refused("OP_TAGS_GET", kind="instance", name="nosuch")
