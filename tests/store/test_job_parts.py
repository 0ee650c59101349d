"""A job as its row and what was written of it since."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gnt.model.errors import ConfigError
from gnt.store.job_parts import merged

LINE = [[1, 0], "message"]
ROW = {
    "id": 7,
    "ops": [
        {"input": {"OP_ID": "A"}, "status": "running", "log": [[1, *LINE, "one"]], "locks": ["x"]},
        {"input": {"OP_ID": "B"}, "status": "queued", "log": []},
    ],
    "start_timestamp": None,
}


def whole(**parts: Any) -> Any:
    """Give the job with parts, whose names have `_` for `/`."""
    named = [(name.replace("_", "/", 1), msgspec.json.encode(value)) for name, value in parts.items()]
    return msgspec.json.decode(merged(msgspec.json.encode(ROW), named))


def test_a_job_without_parts_is_its_row() -> None:
    """To the byte."""
    assert merged(b"anything", []) == b"anything"


def test_an_opcode_is_replaced_but_for_its_input_and_log() -> None:
    """What it has no longer goes; the others are as they were."""
    job = whole(op_0={"status": "success", "result": [1]})
    first = {"input": {"OP_ID": "A"}, "status": "success", "result": [1], "log": [[1, *LINE, "one"]]}
    assert job["ops"] == [first, ROW["ops"][1]]  # type: ignore[index]


def test_lines_stand_behind_each_other_once() -> None:
    """In the order of their serial numbers, however the parts that bring them overlap."""
    job = whole(
        log_10=[0, [[10, *LINE, "ten"]]],
        log_1=[0, [[1, *LINE, "one"], [2, *LINE, "two"]]],
        log_3=[1, [[3, *LINE, "b"]]],
    )
    assert [[line[3] for line in op["log"]] for op in job["ops"]] == [["one", "two", "ten"], ["b"]]


def test_input_and_times_are_replaced() -> None:
    """Each by its part."""
    job = whole(input_1={"OP_ID": "C"}, job={"start_timestamp": [5, 0]})
    assert (job["ops"][1]["input"], job["start_timestamp"]) == ({"OP_ID": "C"}, [5, 0])
    assert job["ops"][1]["status"] == "queued"


@pytest.mark.parametrize("name", ["op/2", "op/x", "log/1", "what"])
def test_what_is_no_part_of_a_job_is_damage(name: str) -> None:
    """It is told as an error of the store, not as a fault of ours."""
    with pytest.raises(ConfigError, match="cannot be read"):
        merged(msgspec.json.encode(ROW), [(name, b'{"a": 1}')])
