"""Summaries of stored opcodes are those that the opcodes themselves give."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gnt.model.errors import GntError
from gnt.opcodes.registry import ALL, decode_opcode
from gnt.opcodes.summaries import summary_of
from tests.opcodes.samples import OPCODES, good


def samples(op_id: str) -> list[dict[str, Any]]:
    """Give the opcode with what it must have, in each of its forms."""
    params = OPCODES[op_id]["params"]
    required = {name: good(each["type"]) for name, each in params.items() if "default" not in each}
    longest = max(map(len, required.values()), default=1)
    return [
        {"OP_ID": op_id, **{name: values[number % len(values)] for name, values in required.items()}}
        for number in range(longest)
    ]


@pytest.mark.parametrize("op_id", sorted(set(ALL) & set(OPCODES)))
def test_a_glance_shows_what_the_opcode_says(op_id: str) -> None:
    """With the fewest parameters, and with all as they are stored."""
    seen = 0
    for sample in samples(op_id):
        try:
            opcode = decode_opcode(sample)
        except GntError:
            continue  # values that do not go together
        seen += 1
        assert summary_of(msgspec.json.encode(sample)) == opcode.summary()
        assert summary_of(msgspec.json.encode(opcode)) == opcode.summary()
    assert seen


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"OP_ID": 1}', b'{"OP_ID": "OP_OF_TOMORROW"}', b"\xff", b"[" * 9999]
)
def test_what_cannot_be_read_has_a_name_too(data: bytes) -> None:
    """A list shows it, and goes on."""
    assert summary_of(data) == "INVALID_OP"


def test_a_summary_without_its_parameter_is_none() -> None:
    """An opcode of an earlier release may lack it."""
    assert summary_of(b'{"OP_ID": "OP_INSTANCE_STARTUP"}') == "INSTANCE_STARTUP(None)"
