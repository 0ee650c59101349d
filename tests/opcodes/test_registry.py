"""Opcodes to JSON and back: round trips, words for faults, limits, what is hidden."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model.errors import WRONG_INPUT, Refused
from gnt.opcodes.devices import Change, as_changes
from gnt.opcodes.instance_create import InstanceCreate, InstanceMultiAlloc
from gnt.opcodes.instance_power import InstanceShutdown
from gnt.opcodes.registry import (
    ALL,
    MAX_BYTES,
    AnyOpcode,
    decode_opcode,
    encode_opcode,
    redacted,
    secrets_of,
    with_secrets,
    without_secrets,
)
from tests.opcodes.samples import COMMON, OPCODES, good

CREATE: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "instance_name": "web1",
    "mode": "create",
    "disks": [{"size": 1024}],
    "nics": [{}],
}
SECRETIVE = {**CREATE, "osparams_private": {"login": "hush1"}, "osparams_secret": {"password": "hush2"}}


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Any opcode with any of its parameters; required ones always."""
    op_id = draw(st.sampled_from(sorted(OPCODES)))
    params = {**OPCODES[op_id]["params"], **COMMON}
    chosen = {
        name: draw(st.sampled_from(good(described["type"])))
        for name, described in params.items()
        if "default" not in described or draw(st.booleans())
    }
    return {"OP_ID": op_id, **chosen}


@given(requests())
def test_round_trip(request_object: dict[str, Any]) -> None:
    """What was decoded is the same after encoding and decoding again, from an object and from text."""
    opcode = decode_opcode(request_object)
    encoded = encode_opcode(opcode)
    assert next(iter(encoded)) == "OP_ID"
    assert set(encoded) == {"OP_ID", *OPCODES[encoded["OP_ID"]]["params"], *COMMON}
    assert decode_opcode(encoded) == opcode
    assert decode_opcode(json.dumps(encoded).encode()) == opcode
    assert msgspec.json.decode(json.dumps(encoded), type=AnyOpcode) == opcode
    assert with_secrets(without_secrets(opcode), secrets_of(opcode)) == opcode


def refusal(source: Any) -> Refused:
    """Decode what must be refused, and give the refusal."""
    with pytest.raises(Refused) as refused:
        decode_opcode(source)
    assert refused.value.code == WRONG_INPUT
    return refused.value


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"disks": [{"size": None}, {"size": []}]}, "$.disks[1].size: expected int | str | null, got array"),
        ({"disks": [{"mode": "rx"}]}, "$.disks[0].mode: not allowed: 'rx'"),
        ({"disks": 5}, "$.disks: expected array, got int"),
        ({"nics": [{"mac": 5}]}, "$.nics[0][...]: expected str | null, got int"),
        ({"nics": [{"speed": "fast"}]}, "$.nics[0]: not allowed: 'speed' as a key"),
        ({"source_shutdown_timeout": -1}, "$.source_shutdown_timeout: expected int >= 0"),
        ({"start": "yes"}, "$.start: expected bool, got str"),
        ({"start": None}, "$.start: expected bool, got null"),
        ({"pnode": ""}, "$.pnode: expected str of length >= 1"),
        ({"depends": [[1, ["running"]]]}, "$.depends[0][1][0]: not allowed: 'running'"),
    ],
)
def test_the_path_of_a_fault(change: dict[str, Any], text: str) -> None:
    """A wrong value is refused with the opcode, the path to the value and what was expected there."""
    assert refusal({**CREATE, **change}).text == f"OP_INSTANCE_CREATE: {text}"


def test_allowed_values_are_named() -> None:
    """A value outside an enumeration is refused together with the values that would do."""
    assert refusal({**CREATE, "disk_template": "drdb"}).hint.startswith("one of blockdev, diskless, drbd")
    assert refusal({**CREATE, "priority": 3}).hint == "one of -10, 0, 10"
    assert refusal({**CREATE, "nics": [{"speed": "fast"}]}).hint.startswith("one of bridge, ip, link, mac, mode")
    assert refusal({"OP_ID": "OP_CLUSTER_SET_PARAMS", "diskparams": {"drdb": {}}}).hint.startswith("one of blockdev, ")


def test_unknown_names_are_refused_with_near_ones() -> None:
    """A parameter or opcode that does not exist is named, and so is what may have been meant."""
    found = refusal({**CREATE, "disk_tmplate": "drbd"})
    assert found.text == "OP_INSTANCE_CREATE: $.disk_tmplate: no such parameter"
    assert found.hint.startswith("did you mean disk_template")
    found = refusal({"OP_ID": "OP_INSTANCE_STARTUPP"})
    assert found.text == "$.OP_ID: no opcode 'OP_INSTANCE_STARTUPP'"
    assert found.hint.startswith("did you mean OP_INSTANCE_STARTUP")
    assert refusal({**CREATE, "zzzzzz": 1}).hint == ""


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({}, "$.OP_ID: required, but missing"),
        ({"OP_ID": 5}, "$.OP_ID: expected str, got int"),
        (b"[]", "$: expected an opcode object, got array"),
        (b"null", "$: expected an opcode object, got null"),
        (b'{"OP_ID"', "opcode is not JSON: Input data was truncated"),
        (b'"\xff"', None),
    ],
)
def test_no_opcode_at_all(source: Any, text: str | None) -> None:
    """What is no opcode object is refused in words, not with a traceback."""
    found = refusal(source)
    assert text is None or found.text == text


def test_limits() -> None:
    """Too deep and too large opcodes are refused: from text, from objects, and beyond every recursion limit."""
    deep: Any = []
    for _ in range(70):
        deep = [deep]
    assert "nested more than 64" in refusal({**CREATE, "hvparams": {"x": deep}}).text
    bomb = b'{"OP_ID": "OP_CLUSTER_QUERY", "reason": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert "nested more than 64" in refusal(bomb).text
    assert "bytes" in refusal(b" " * (MAX_BYTES + 1)).text
    shallow: Any = []
    for _ in range(60):
        shallow = [shallow]
    assert decode_opcode({"OP_ID": "OP_CLUSTER_QUERY", "reason": shallow})


def test_private_values_are_hidden() -> None:
    """What is shown or kept holds names, but no value of private and secret parameters."""
    opcode = decode_opcode(SECRETIVE)
    for shown in (repr(opcode), json.dumps(redacted(opcode)), json.dumps(encode_opcode(without_secrets(opcode)))):
        assert "hush" not in shown
        assert "login" in shown
        assert "<redacted>" in shown
    assert secrets_of(opcode) == {"osparams_private": {"login": "hush1"}, "osparams_secret": {"password": "hush2"}}
    assert secrets_of(decode_opcode(CREATE)) == {}
    assert encode_opcode(opcode)["osparams_secret"] == {"password": "hush2"}


def test_secrets_of_every_os_are_hidden() -> None:
    """The cluster's private parameters, one level deeper, are hidden too."""
    opcode = decode_opcode({"OP_ID": "OP_CLUSTER_SET_PARAMS", "osparams_private_cluster": {"debian": {"key": "hush"}}})
    assert redacted(opcode)["osparams_private_cluster"] == {"debian": {"key": "<redacted>"}}


def test_secrets_in_opcodes_in_opcodes_are_hidden() -> None:
    """The opcodes that another one carries keep their secrets as well, and get them back."""
    opcode = InstanceMultiAlloc(instances=[SECRETIVE])
    assert "hush" not in repr(opcode)
    kept = without_secrets(opcode)
    assert "hush" not in json.dumps(encode_opcode(kept))
    assert with_secrets(kept, secrets_of(opcode)) == opcode


@pytest.mark.parametrize(
    ("source", "summary"),
    [
        (CREATE, "INSTANCE_CREATE(web1)"),
        ({"OP_ID": "OP_CLUSTER_QUERY"}, "CLUSTER_QUERY"),
        ({"OP_ID": "OP_TAGS_GET", "kind": "cluster"}, "TAGS_GET(None)"),
        ({"OP_ID": "OP_TEST_DELAY", "duration": 1.5}, "TEST_DELAY(1500000000 ns)"),
        ({"OP_ID": "OP_NODE_EVACUATE", "node_name": "node1", "mode": "all"}, "NODE_EVACUATE(node1)"),
    ],
)
def test_summary(source: dict[str, Any], summary: str) -> None:
    """The short form names the opcode without its prefix, and its object."""
    assert decode_opcode(source).summary() == summary


def test_changes_in_both_forms() -> None:
    """The older pairs mean what the triples say in full."""
    request = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1"}
    older = decode_opcode({**request, "nics": [["add", {"mac": "auto"}], ["remove", {}], [2, {"link": "br1"}]]})
    newer = decode_opcode(
        {**request, "nics": [["add", -1, {"mac": "auto"}], ["remove", -1, {}], ["modify", 2, {"link": "br1"}]]}
    )
    assert as_changes(older.nics) == as_changes(newer.nics)  # type: ignore[attr-defined]
    assert as_changes(older.nics)[2] == Change("modify", 2, {"link": "br1"})  # type: ignore[attr-defined]
    mixed = refusal({**request, "disks": [["add", {}], ["modify", 0, {}]]})
    assert mixed.text == "OP_INSTANCE_SET_PARAMS: $.disks[1]: expected array of length 2, got 3"


def test_recreated_disks_are_indexes_or_pairs() -> None:
    """A mixture is refused at the first item that differs."""
    request = {"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": "web1"}
    assert refusal({**request, "disks": [0, [1, {}]]}).text.startswith("OP_INSTANCE_RECREATE_DISKS: $.disks[1]: ")
    assert refusal({**request, "disks": [[1, {"spindles": -1}]]}).text.startswith(
        "OP_INSTANCE_RECREATE_DISKS: $.disks[0][1].spindles: "
    )


def test_an_opcode_made_in_python_is_checked_the_same() -> None:
    """What the type alone cannot say is refused when the struct is made, too."""
    with pytest.raises(Refused, match=r"\$\.disks\[0\]\.mode"):
        InstanceCreate(instance_name="web1", mode="create", disks=({"mode": "rx"},), nics=())
    assert InstanceShutdown(instance_name="web1").timeout == 120


def test_no_type_upsets_the_decoder() -> None:
    """Every class survives a garbage collection after its use: msgspec crashed on one type.

    In a process of its own: a crash is seen as one, and there is little to collect.
    """
    every_one = """if True:
        import gc
        from gnt.model.errors import Refused
        from gnt.opcodes.parameters import opcode_parameters
        from gnt.opcodes.registry import ALL, decode_opcode

        for op_id in ALL:
            required = any(parameter.required for parameter in opcode_parameters(ALL[op_id]))
            try:
                decoded = decode_opcode({"OP_ID": op_id})
            except Refused as refused:
                assert required and refused.text.endswith("required, but missing"), (op_id, refused.text)
            else:
                assert not required and decoded.op_id() == op_id
            gc.collect()
        print(len(ALL), "decoded")
    """
    done = subprocess.run([sys.executable, "-c", every_one], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{len(ALL)} decoded\n"), done.stderr
