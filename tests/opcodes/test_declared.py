"""The declared opcodes against the list of all opcodes: names, parameters, defaults and types."""

from __future__ import annotations

from typing import Any

import pytest

from gnt.model.errors import WRONG_INPUT, Refused
from gnt.opcodes.base import Opcode
from gnt.opcodes.parameters import opcode_parameters
from gnt.opcodes.registry import ALL, decode_opcode, encode_opcode
from tests.opcodes.samples import COMMON, OPCODES, SPEC, bad, good

PARAMETERS = [
    pytest.param(op_id, name, described, id=f"{op_id}.{name}")
    for op_id, opcode in OPCODES.items()
    for name, described in opcode["params"].items()
]
# Disk templates that are ours.
OURS = {"lvm-thin", "qcow2", "thin"}


def least(op_id: str) -> dict[str, Any]:
    """Give the smallest request that an opcode accepts."""
    params = OPCODES[op_id]["params"]
    required = {name: good(p["type"])[0] for name, p in params.items() if "default" not in p}
    return {"OP_ID": op_id, **required}


def test_every_opcode_is_declared_under_its_class_name() -> None:
    """`OP_FOO_BAR` is class `FooBar`, and there are no others."""
    assert sorted(ALL) == sorted(OPCODES)
    for op_id, opcode in ALL.items():
        assert opcode.__name__ == "".join(word.capitalize() for word in op_id.removeprefix("OP_").lower().split("_"))


@pytest.mark.parametrize("op_id", OPCODES)
def test_parameters_and_facts(op_id: str) -> None:
    """Names and order of the parameters, the summary field and the first release are those of the list."""
    own = [p.name for p in opcode_parameters(ALL[op_id]) if not p.common]
    assert sorted(own) == sorted(OPCODES[op_id]["params"])
    assert (ALL[op_id].SUMMARY_FIELD or None) == OPCODES[op_id].get("summary_field")
    assert OPCODES[op_id]["since"] == ALL[op_id].SINCE


@pytest.mark.parametrize("op_id", OPCODES)
def test_everything_is_documented(op_id: str) -> None:
    """Each opcode has one sentence and each parameter one line, in words that are not the list's."""
    text = ALL[op_id].__doc__ or ""
    assert text.endswith(".")
    assert len(text.splitlines()) == 1
    for parameter in opcode_parameters(ALL[op_id]):
        assert parameter.doc, parameter.name
        assert "\n" not in parameter.doc
        assert not parameter.doc.endswith(".")


@pytest.mark.parametrize(("op_id", "name", "described"), PARAMETERS)
def test_default(op_id: str, name: str, described: dict[str, Any]) -> None:
    """A missing parameter gets its default, or is refused by name where there is none."""
    request = least(op_id)
    if "default" in described:
        assert encode_opcode(decode_opcode(request))[name] == described["default"]
        return
    del request[name]
    with pytest.raises(Refused) as refused:
        decode_opcode(request)
    assert refused.value.text == f"{op_id}: $.{name}: required, but missing"


@pytest.mark.parametrize(("op_id", "name", "described"), PARAMETERS)
def test_accepted_values(op_id: str, name: str, described: dict[str, Any]) -> None:
    """Every value of the type is taken and comes back as it was, ints for floats among them."""
    for value in good(described["type"]):
        decoded = decode_opcode({**least(op_id), name: value})
        encoded = encode_opcode(decoded)[name]
        if described["type"].startswith("set["):
            assert sorted(encoded) == sorted(value)
        else:
            assert encoded == value
        if described["type"] == "float":
            assert isinstance(getattr(decoded, name), float)


@pytest.mark.parametrize(("op_id", "name", "described"), PARAMETERS)
def test_refused_values(op_id: str, name: str, described: dict[str, Any]) -> None:
    """A value of another type is refused, with the opcode and a path into the parameter."""
    wrong = bad(described["type"])
    assert wrong or described["type"] == "any"
    for value in wrong:
        with pytest.raises(Refused) as refused:
            decode_opcode({**least(op_id), name: value})
        assert refused.value.code == WRONG_INPUT
        assert refused.value.text.startswith(f"{op_id}: $.{name}"), value


@pytest.mark.parametrize("name", COMMON)
def test_common_parameters(name: str) -> None:
    """The common parameters have the types and defaults of the list, for every opcode."""
    plain = {"OP_ID": "OP_CLUSTER_QUERY"}
    assert encode_opcode(decode_opcode(plain))[name] == COMMON[name]["default"]
    for value in good(COMMON[name]["type"]):
        assert encode_opcode(decode_opcode({**plain, name: value}))[name] == value
    for value in bad(COMMON[name]["type"]):
        with pytest.raises(Refused):
            decode_opcode({**plain, name: value})
    assert all(name in opcode.__struct_fields__ for opcode in ALL.values())


@pytest.mark.parametrize(("op_id", "name", "described"), PARAMETERS)
def test_described_parameter(op_id: str, name: str, described: dict[str, Any]) -> None:
    """What is said about a parameter is what the decoder does: required, nullable, choices, hidden values."""
    (info,) = [p for p in opcode_parameters(ALL[op_id]) if p.name == name]
    assert info.required == ("default" not in described)
    assert info.default == described.get("default")
    assert info.nullable == described["type"].endswith("|null")
    assert (info.private or info.secret) == ("private[" in described["type"])
    if described["type"].startswith("enum:"):
        assert [choice for choice in info.choices if choice not in OURS] == SPEC["_enums"][
            described["type"][5:].removesuffix("|null")
        ]


def test_shown_types() -> None:
    """Types are shown in the notation of the list."""
    types = {p.name: p.type for p in opcode_parameters(ALL["OP_INSTANCE_RECREATE_DISKS"])}
    assert types["disks"] == "[int | (int >= 0, {str: any})]"
    assert types["node_uuids"] == "[str+] | null"
    assert {p.name: p.type for p in opcode_parameters(ALL["OP_TEST_DELAY"])}["duration"] == "float"


def test_opcodes_are_values() -> None:
    """Two opcodes with the same parameters are equal, and none can be changed."""
    first, second = decode_opcode(least("OP_TEST_DELAY")), decode_opcode(least("OP_TEST_DELAY"))
    assert first == second
    assert isinstance(first, Opcode)
    with pytest.raises(AttributeError):
        first.priority = 10  # type: ignore[misc]
