"""The rooms of the house keep to themselves: what is imported when a command or the ground floor is loaded."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
HEAVY = ("twisted", "klein", "OpenSSL", "cryptography", "zope", "libvirt")


def loaded(statement: str) -> list[str]:
    """Run a statement in a fresh interpreter and give the heavy packages that it loaded."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    return said.stdout.split()


def test_a_command_loads_no_twisted() -> None:
    """A list answers before a person notices: the launchers import gnt.cli.main and nothing heavy with it."""
    assert loaded("import gnt.cli.main") == []


def test_what_a_contract_asserts_is_told_in_full() -> None:
    """Its assertions are rewritten as those of the tests that use it."""
    for name in (
        "tests.noded.storage.contract",
        "tests.noded.storage.mirror_contract",
        "tests.masterd.operations.ground",
    ):
        assert type(importlib.import_module(name).__loader__).__name__ == "AssertionRewritingHook", name


@pytest.mark.parametrize("room", ["model", "opcodes", "store"])
def test_the_ground_floor_loads_nothing_heavy(room: str) -> None:
    """Every module of the model, of the opcodes and of the store is loaded, and none brings Twisted or cryptography."""
    modules = [
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        for path in sorted((CHECKOUT / "gnt" / room).rglob("*.py"))
        if path.name != "__init__.py"
    ]
    assert modules
    assert loaded(f"import {', '.join(modules)}") == []


def test_commands_load_no_daemon() -> None:
    """What daemons run on, and the store, stay out of the commands."""
    rooms = ("gnt.daemon", "gnt.masterd", "gnt.noded", "gnt.rapi", "gnt.store", "gnt.bootstrap")
    code = f"import gnt.cli.main, sys\nprint(*(name for name in sys.modules if name.startswith({rooms!r})))"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.split() == []
