"""A node's directory with a fake master behind its socket, and commands run in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gnt.cli.main import main
from tests.cli.fake_master import FakeMaster, directories


class Ran(NamedTuple):
    """What became of a command."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a node's root directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="gnt-cli-") as name:
        directories(Path(name))
        monkeypatch.setenv("GNT_ROOTDIR", name)
        monkeypatch.setenv("GNT_HOSTNAME", "node1")
        monkeypatch.setenv("TZ", "UTC")
        for variable in ("GNT_INSTANCE_LIST", "GNT_NODE_LIST", "FORCE_LUXI_SOCKET", "GNT_SSH"):
            monkeypatch.delenv(variable, raising=False)
        yield Path(name)


@pytest.fixture
def master(root: Path) -> Iterator[FakeMaster]:
    """Run a fake master."""
    fake = FakeMaster(root / "var/run/ganeti/socket/ganeti-master")
    yield fake
    fake.stop()


@pytest.fixture
def gnt(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command: `gnt("job", "list")`. Questions meet no terminal."""
    monkeypatch.setattr("gnt.cli.terminal.TTY", root / "no-terminal")

    def run(program: str, *words: Any) -> Ran:
        status = main(f"gnt-{program}", [str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(status, out, err)

    return run
