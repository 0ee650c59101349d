"""A list loads next to nothing: what it does load, and that its commands are those of the programs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gnt.cli.list_commands import LISTS, list_command
from gnt.cli.main import load

HEAVY = ("msgspec", "dataclasses", "inspect", "pathlib", "urllib", "decimal", "datetime", "threading", "twisted")
PROGRAM = """
import sys
from gnt.cli.main import main
from gnt.wire.luxi_client import LuxiClient
LuxiClient.connect = lambda self: None
LuxiClient.call = lambda self, *question, **more: {answer!r}
status = main("gnt-instance", ["list", "--no-headers", "-o", "name,oper_ram", "web1"])
print(status, sorted(set({heavy!r}) & set(sys.modules)))
"""
ANSWER = {
    "fields": [
        {"name": "name", "title": "Instance", "kind": "text", "doc": ""},
        {"name": "oper_ram", "title": "Memory", "kind": "unit", "doc": ""},
    ],
    "data": [[[0, "web1"], [0, 2048]]],
}


def test_a_list_loads_no_heavy_module() -> None:
    """From its first word to its last line; each of these takes about as long to load as the whole list may."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM.format(heavy=HEAVY, answer=ANSWER)],
        env={"GNT_ROOTDIR": "/nowhere", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["web1 2.0G", "0 []"], done.stdout + done.stderr


OF_A_JOB = """
import sys
from gnt.cli.main import main
from gnt.wire.luxi_client import LuxiClient
asked = []
answers = {{"SubmitJob": 7, "WaitForJobChange": [["success"], []], "QueryJobs": [["success", ["success"], [{rows!r}]]]}}
LuxiClient.connect = lambda self: None
LuxiClient.call = lambda self, method, *args, **more: (asked.append((method, *args)), answers[method])[1]
status = main({program!r}, {words!r})
print(status, asked[0][1][0]["OP_ID"], sorted(set({heavy!r}) & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("program", "words", "rows", "said"),
    [
        ("gnt-os", ["list"], [["plain", [], True, False, False]], ["Name", "plain", "0 OP_OS_DIAGNOSE []"]),
        (
            "gnt-node",
            ["volumes", "--no-headers", "-o", "node,size", "node1"],
            [["node1", 2048]],
            ["node1 2.0G", "0 OP_NODE_QUERYVOLS []"],
        ),
        (
            "gnt-node",
            ["list-storage", "--no-headers", "-o", "name,allocatable"],
            [["xenvg", True]],
            ["xenvg Y", "0 OP_NODE_QUERY_STORAGE []"],
        ),
    ],
)
def test_a_list_that_is_a_job_loads_no_opcodes(program: str, words: list[str], rows: object, said: list[str]) -> None:
    """The nodes are asked by a job, which this end only writes down; to load all opcodes would take longer."""
    heavy = (*HEAVY, "gnt.opcodes.registry", "gnt.opcodes")
    done = subprocess.run(
        [sys.executable, "-S", "-c", OF_A_JOB.format(program=program, words=words, rows=rows, heavy=heavy)],
        env={"GNT_ROOTDIR": "/nowhere", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == said, done.stdout + done.stderr


LOCKS = {
    "fields": [{"name": "name", "title": "Name", "kind": "text", "doc": ""}],
    "data": [[[0, "node/a"]]],
}
ASKED_OFTEN = """
import sys
from gnt.cli.main import main
from gnt.wire.luxi_client import LuxiClient
LuxiClient.connect = lambda self: None
LuxiClient.call = lambda self, *question, **more: {answer!r}
status = main({program!r}, {words!r})
print(status, sorted(set({heavy!r}) & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("program", "words", "answer", "said", "heavy"),
    [
        ("gnt-debug", ["locks", "--no-headers", "-o", "name"], LOCKS, "node/a", HEAVY),
        (
            "gnt-cluster",
            ["queue", "info"],
            [False],
            "The drain flag is unset",
            ("gnt.opcodes.registry", "gnt.model.cluster", "twisted"),
        ),
        (
            "gnt-cluster",
            ["watcher", "info"],
            [None],
            "The watcher is not paused.",
            ("gnt.opcodes.registry", "gnt.model.cluster", "twisted"),
        ),
    ],
)
def test_what_is_asked_often_loads_little(
    program: str, words: list[str], answer: object, said: str, heavy: tuple[str, ...]
) -> None:
    """Locks are a list like others; a word about the queue needs no opcode."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", ASKED_OFTEN.format(program=program, words=words, answer=answer, heavy=heavy)],
        env={"GNT_ROOTDIR": "/nowhere", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [said, "0 []"], done.stdout + done.stderr


@pytest.mark.parametrize("program", sorted(LISTS))
def test_lists_are_those_of_the_programs(program: str) -> None:
    """Usage texts and manual pages show the very commands that run."""
    for command in LISTS[program]:
        assert load(program).command(command.name) is command
        assert list_command(program, command.name) is command
    assert list_command(program, "nonsense") is None
