"""What is shipped fits together: launchers, plugins, units, pins."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def test_every_launcher_is_installed() -> None:
    """A command in bin/ that pyproject.toml does not list would be missing from an installation."""
    listed = set(PROJECT["tool"]["setuptools"]["script-files"])
    assert listed == {f"bin/{path.name}" for path in (CHECKOUT / "bin").iterdir()}


@pytest.mark.parametrize("launcher", sorted((CHECKOUT / "bin").iterdir()), ids=lambda path: path.name)
def test_a_launcher_starts_the_command_of_its_name(launcher: Path) -> None:
    """One line of code, and the name in it is the file's own."""
    text = launcher.read_text()
    assert text.startswith("#!/usr/bin/env python3\n")
    assert f'main("{launcher.name}")' in text
    assert os.access(launcher, os.X_OK)


def test_twistd_finds_the_three_daemons() -> None:
    """The plugins are where Twisted looks, and say their names without importing what they start."""
    code = (
        "import sys\n"
        "from twisted.plugin import getPlugins\n"
        "from twisted.application.service import IServiceMaker\n"
        "print(*sorted(p.tapname for p in getPlugins(IServiceMaker) if p.tapname.startswith('gnt-')))\n"
        "assert not [name for name in sys.modules if name.startswith('gnt.')]\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == ["gnt-masterd", "gnt-noded", "gnt-rapi"]


def requirement_names(text: str) -> dict[str, str]:
    """Give name (normalised) → version of pinned lines; fails on a line that is not pinned exactly."""
    pins = {}
    for line in text.splitlines():
        wanted = line.split("#")[0].strip()
        if wanted:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", wanted)
            assert match, f"not pinned exactly: {wanted}"
            pins[normalised(match[1])] = match[2]
    return pins


def normalised(name: str) -> str:
    """Give a distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_dependencies_are_pinned() -> None:
    """Every direct dependency stands in the pins, run-time and development apart."""
    runtime = requirement_names((CHECKOUT / "requirements.txt").read_text())
    development = requirement_names((CHECKOUT / "requirements-dev.txt").read_text())
    assert not runtime.keys() & development.keys()
    wanted = {normalised(re.split(r"[<>=!~ \[]", line)[0]) for line in PROJECT["project"]["dependencies"]}
    assert wanted <= runtime.keys()
    tools = {normalised(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]}
    assert tools <= development.keys()


def test_libvirt_is_optional() -> None:
    """Installing gnt compiles nothing: the binding is an extra, and not among the pins."""
    runtime = requirement_names((CHECKOUT / "requirements.txt").read_text())
    assert "libvirt-python" not in runtime
    assert [
        line for line in PROJECT["project"]["optional-dependencies"]["libvirt"] if line.startswith("libvirt-python")
    ]


@pytest.mark.parametrize("daemon", ["gnt-masterd", "gnt-noded", "gnt-rapi"])
def test_a_unit_tells_systemd_when_it_is_ready(daemon: str) -> None:
    """Each daemon runs in the foreground, notifies, and comes back after a crash."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(CHECKOUT / f"packaging/systemd/{daemon}.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["Restart"] == "on-failure"
    command = service["ExecStart"].split()
    assert command[0].endswith("/twistd")
    assert "--nodaemon" in command
    assert command[-1] == daemon


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """No unknown setting, no missing unit (with a program that exists on every machine)."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in (CHECKOUT / "packaging/systemd").iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/gnt/bin/twistd", "/bin/true"))
    units = sorted(str(path) for path in tmp_path.iterdir())
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    assert not [line for line in said.stderr.splitlines() if str(tmp_path) in line or "gnt" in line], said.stderr
