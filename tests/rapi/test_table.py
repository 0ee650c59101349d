"""The table of resources against the specification."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gnt.opcodes.registry import ALL
from gnt.rapi.resources import group, instance, job, node
from gnt.rapi.resources.base import Access, Composed, Submit, reason_name
from gnt.rapi.resources.table import GANETI, ROWS, by_path

SPECIFIED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data/rapi.json").read_text(encoding="utf-8"))
EVERY = [(path, method, about) for path, methods in SPECIFIED["resources"].items() for method, about in methods.items()]


def test_every_resource_has_a_row() -> None:
    """All paths and methods of the specification, and no other but for ours."""
    assert {(row.path, row.method) for row in GANETI} == {(path, method) for path, method, _ in EVERY}
    assert sum(map(len, by_path().values())) == len(ROWS)


@pytest.mark.parametrize(("path", "method", "about"), EVERY, ids=[f"{method} {path}" for path, method, _ in EVERY])
def test_a_row_is_as_specified(path: str, method: str, about: dict[str, Any]) -> None:
    """Access, opcode, query parameters, names in the body and what may not stand there."""
    row = by_path()[path][method]
    access = {"/version": Access.PUBLIC}.get(path, Access.OPEN)
    wanted = {(): access, ("write",): Access.WRITE, ("read", "write"): Access.READ}[tuple(sorted(about["access"]))]
    assert row.access is wanted
    assert {opcode.op_id() for opcode in row.opcodes} >= set(re.findall("OP_[A-Z_]+", about.get("opcode", "")))
    if isinstance(row.does, Composed):
        assert {argument.query for argument in row.does.query} == about["query"].keys() - {"reason"}
        assert (row.does.given is not None) is (about["body"] is not None)
    elif "opcode" in about:
        assert isinstance(row.does, Submit)
        assert row.does.opcode is ALL[about["opcode"]]
        assert {argument.query for argument in row.does.query} == about["query"].keys() - {"reason"}
        assert row.does.body is (about["body"] is not None)
        if row.does.word:
            wanted_flags = about["body"]["mapping"]
            given = {word: {k: v for k, v in flags.items() if v is not None} for word, flags in wanted_flags.items()}
            assert row.does.word == given
        elif row.does.body:
            static = {name.removesuffix("[]") for name in row.does.path.values()} | row.does.fixed.keys()
            static |= {argument.parameter for argument in row.does.query}
            assert static == set(about["body"]["excluded"])
            assert dict(row.does.renamed) == about["body"]["renamed"]
    else:
        assert not isinstance(row.does, Submit)


def test_the_fields_are_those_specified() -> None:
    """Objects have all their fields."""
    fields = SPECIFIED["_fields"]
    assert list(instance.FIELDS) == fields["instance"]
    assert list(node.FIELDS) == fields["node"]
    assert list(group.GROUP_FIELDS) == fields["group"]
    assert list(group.NETWORK_FIELDS) == fields["network"]
    assert list(job.FIELDS) == fields["job"]
    assert list(job.BULK_FIELDS) == fields["job_bulk"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/2/instances/[instance_name]/shutdown", "instances_name_shutdown"),
        ("/2/instances/[instance_name]/disk/[disk_index]/grow", "instances_name_disk_grow"),
        ("/2/groups", "groups"),
        ("/2/nodes/[node_name]/storage/repair", "nodes_name_storage_repair"),
        ("/2/instances/[instance_name]/replace-disks", "instances_name_replace_disks"),
    ],
)
def test_names_in_reason_trails(path: str, name: str) -> None:
    """They are like those of Ganeti's classes."""
    assert reason_name(path) == name


def test_reason_names_that_the_path_does_not_give() -> None:
    """Two resources are called otherwise."""
    assert by_path()["/2/redistribute-config"]["PUT"].reason_name == "redist_config"
    assert by_path()["/2/modify"]["PUT"].reason_name == "cluster_modify"
