"""Parameters as clients of older releases send them."""

from __future__ import annotations

from typing import Any

import pytest

from gnt.model.errors import Refused
from gnt.opcodes.registry import OLDER, decode_opcode
from tests.opcodes.samples import OPCODES

MAPPED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"OP_ID": "OP_CLUSTER_RENEW_CRYPTO", "ssh_keys": True}, {"renew_ssh_keys": True}),
    ({"OP_ID": "OP_GROUP_RENAME", "old_name": "a", "new_name": "b"}, {"group_name": "a", "new_name": "b"}),
    ({"OP_ID": "OP_INSTANCE_RENAME", "instance_name": "a", "new_name": "b", "ignore_ip": False}, {"ip_check": True}),
    ({"OP_ID": "OP_INSTANCE_RENAME", "instance_name": "a", "new_name": "b", "ignore_ip": True}, {"ip_check": False}),
    (
        {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "a", "hotplug": False, "hotplug_if_possible": True},
        {"hotplug": True, "force": True},
    ),
    (
        {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "a", "hotplug": False, "hotplug_if_possible": False},
        {"hotplug": False},
    ),
    ({"OP_ID": "OP_QUERY", "what": "node", "fields": [], "filter": ["?", "master"]}, {"qfilter": ["?", "master"]}),
    (
        {"OP_ID": "OP_QUERY", "what": "node", "fields": [], "filter": None, "qfilter": ["?", "master"]},
        {"qfilter": ["?", "master"]},
    ),
]


@pytest.mark.parametrize(("sent", "meant"), MAPPED)
def test_what_they_are_called_today(sent: dict[str, Any], meant: dict[str, Any]) -> None:
    """The value goes to today's parameter; null says nothing; what was given is left as it is."""
    before = dict(sent)
    opcode = decode_opcode(sent)
    assert {name: getattr(opcode, name) for name in meant} == meant
    assert sent == before


def test_all_of_the_specification_are_known() -> None:
    """Each parameter that went away is still understood, and is none of today's."""
    removed = {op_id: set(each["removed_params"]) for op_id, each in OPCODES.items() if each.get("removed_params")}
    assert {op_id: set(names) for op_id, names in OLDER.items()} == removed
    assert all(not set(names) & set(OPCODES[op_id]["params"]) for op_id, names in OLDER.items())


def test_a_bad_value_is_refused_under_todays_name() -> None:
    """The fault is named as if it had been sent so."""
    with pytest.raises(Refused, match="renew_ssh_keys"):
        decode_opcode({"OP_ID": "OP_CLUSTER_RENEW_CRYPTO", "ssh_keys": "some"})
