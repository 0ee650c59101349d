"""The rooms of the house keep to themselves: what is imported when a command or the ground floor is loaded."""

from __future__ import annotations

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
