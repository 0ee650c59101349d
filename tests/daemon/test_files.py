"""Files that are whole, and the directories that daemons expect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnt.daemon.files import make_directories, remove_durably, remove_unfinished, write_atomically
from gnt.model.errors import ENVIRONMENT, Refused
from gnt.model.layout import Layout


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    """Text or bytes; a read-only file is replaced too; nothing else remains in the directory."""
    path = tmp_path / "ssconf_x"
    write_atomically(path, "one\n", 0o444)
    write_atomically(path, b"two\n", 0o640)
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Wherever it fails before the rename: the old content, and no temporary file."""
    path = tmp_path / "file"
    write_atomically(path, "old", 0o600)

    def broken(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new", 0o600)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """Killed before the rename, a writer leaves a file of a random name; nothing else is taken away."""
    kept = {tmp_path / name for name in ("server.pem", ".hidden", "server.key.new", ".config.db.new")}
    for path in kept:
        path.write_text("")
    program = (
        "import os, pathlib, sys\n"
        "from gnt.daemon.files import write_atomically\n"
        "os.fchmod = lambda *_: os.kill(os.getpid(), 9)\n"
        "write_atomically(pathlib.Path(sys.argv[1]), 'a key', 0o600)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, tmp_path / "server.pem"], check=False)
    assert ended.returncode == -9
    assert set(tmp_path.iterdir()) > kept
    remove_unfinished(tmp_path)
    assert set(tmp_path.iterdir()) == kept


def test_removing_says_whether_there_was_one(tmp_path: Path) -> None:
    """Removing twice is fine."""
    (tmp_path / "file").write_text("")
    assert remove_durably(tmp_path / "file")
    assert not remove_durably(tmp_path / "file")


def test_directories_with_their_modes(tmp_path: Path) -> None:
    """As the table of files says, whatever the umask; those that exist keep theirs."""
    layout = Layout(tmp_path)
    layout.log.mkdir(parents=True, mode=0o711)
    before = os.umask(0o077)
    try:
        make_directories(layout)
        make_directories(layout)
    finally:
        os.umask(before)
    modes = {
        layout.data: 0o755,
        layout.run: 0o755,
        layout.socket_directory: 0o750,
        layout.run / "instance-disks": 0o755,
        layout.log: 0o711,
        layout.os_log: 0o750,
        layout.default_file_storage(): 0o750,
        layout.default_shared_file_storage(): 0o750,
    }
    assert {path: path.stat().st_mode & 0o777 for path in modes} == modes


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    """One line with the path."""
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/ganeti").write_text("")
    with pytest.raises(Refused, match="var/lib/ganeti is not a directory") as caught:
        make_directories(Layout(tmp_path))
    assert caught.value.code == ENVIRONMENT
