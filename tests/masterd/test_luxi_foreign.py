"""What clients of the original are told about disk templates that it never had."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gnt.masterd.luxi_foreign import LIKE, as_foreign
from gnt.model.objects import DiskTemplate
from gnt.wire.luxi import decode_request, encode_request
from gnt.wire.luxi_client import encode_question

POLICY = {"vcpu-ratio": 4.0, "disk-templates": ["plain", "qcow2", "drbd", "thin"]}
READABLE = {"vcpu-ratio": 4.0, "disk-templates": ["plain", "drbd"]}
# Those of the original: spec/storage.md, section 1.
ORIGINAL = {"blockdev", "diskless", "drbd", "ext", "file", "gluster", "plain", "rbd", "sharedfile"}


def query(*columns: tuple[str, Any]) -> dict[str, Any]:
    """Make the answer to a query: one row with these fields and values."""
    return {"fields": [{"name": name} for name, _ in columns], "data": [tuple((0, value) for _, value in columns)]}


def test_every_template_of_ours_is_like_one_of_theirs() -> None:
    """None is forgotten when a new one comes; an instance of several kinds is mixed, which they know."""
    assert {str(template) for template in DiskTemplate} - {"mixed"} == ORIGINAL | set(LIKE)
    assert set(LIKE.values()) <= ORIGINAL


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("disk_template", "qcow2", "file"),
        ("disk_template", "thin", "plain"),
        ("disk_template", "drbd", "drbd"),
        ("disk_template", None, None),
        ("ipolicy", POLICY, READABLE),
        ("custom_ipolicy", {}, {}),
        ("diskparams", {"qcow2": {"x": 1}, "plain": {"stripes": 1}}, {"plain": {"stripes": 1}}),
        ("name", "qcow2", "qcow2"),
        ("tags", ["qcow2"], ["qcow2"]),
    ],
)
def test_cells(field: str, value: Any, told: Any) -> None:
    """Words that they do not know are in no field; all else is as it is, in newer and older questions."""
    answer = as_foreign("Query", ["instance", ["name", field], None], query(("name", "web1"), (field, value)))
    assert json.loads(json.dumps(answer["data"])) == [[[0, "web1"], [0, told]]]
    assert as_foreign("QueryInstances", [[], [field], False], [[value]]) == [[told]]


def test_the_description_of_the_cluster() -> None:
    """Lists of templates, policy and parameters."""
    info = {"name": "c", "ipolicy": POLICY, "enabled_disk_templates": ["qcow2", "plain"], "diskparams": {"thin": {}}}
    told = {"name": "c", "ipolicy": READABLE, "enabled_disk_templates": ["plain"], "diskparams": {}}
    assert as_foreign("QueryClusterInfo", [], info) == told
    assert as_foreign("QueryTags", ["cluster", ""], ["qcow2"]) == ["qcow2"]


def test_clients_of_ours_say_so() -> None:
    """The commands are told everything; whoever says nothing, or anything else, counts as one of the original's."""
    assert decode_request(encode_question("Query", [])[:-1]).own
    assert not decode_request(encode_request("Query", [])[:-1]).own
    assert not decode_request(b'{"method":"Query","args":[],"client":{"a":1}}').own


def test_rows_without_such_words_are_given_as_they_are() -> None:
    """A long answer is not made a second time for nothing."""
    answer = query(("name", "web1"), ("disk_template", "drbd"), ("ipolicy", READABLE))
    assert as_foreign("Query", ["instance", [], None], answer)["data"] is answer["data"]
