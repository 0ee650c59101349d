"""Really killed processes and really full disks: what was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gnt.model.epoch import START
from gnt.model.errors import ConfigError
from gnt.store.database import Database
from tests.store.support import at, entry, job

UUID = "8d5d2c2e-0a3f-4c8e-9a51-0a8f2e1c7a11"

# Writes entries of three jobs each, and says the serial on its standard output once the append has returned.
WRITER = """
import sys
from pathlib import Path
from gnt.store.database import Database
from tests.store.support import at, entry, job
database = Database.open(Path(sys.argv[1]))
serial = database.end.serial
print("ready", flush=True)
while True:
    previous = database.end
    serial += 1
    jobs = [job(serial * 3 + n, filler="x" * 3000) for n in range(3)]
    database.append(previous, [entry(serial, *jobs)], committed=serial - 1)
    sys.stdout.write(f"{serial}\\n")
    sys.stdout.flush()
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """Killed with SIGKILL at moments that fall anywhere in a commit, ten times over the same store."""
    path = tmp_path / "config.db"
    Database.create(path, UUID).close()
    chance = random.Random(20)  # noqa: S311
    acknowledged = 0
    for _ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        lines = [writer.stdout.readline() for _ in range(chance.randrange(1, 60))]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        database = Database.open(path)
        end = database.end.serial
        assert end >= acknowledged
        assert database.committed <= end
        assert [found.id for found in database.jobs()] == list(range(3, 3 + 3 * end))
        entries = database.entries_after(START, 2**30)
        assert entries is not None
        assert [found.position.serial for found in entries] == list(range(1, end + 1))
        database.abandon()
    assert acknowledged > 10


@pytest.fixture
def small_files() -> object:
    """Let no file of this process grow over 400 KiB for the time of a test; how a full disk looks to SQLite."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400 * 1024, before[1]))
    yield None
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _fill(database: Database) -> tuple[int, ConfigError]:
    for serial in range(1, 2000):
        try:
            database.append(database.end, [entry(serial, job(serial, filler="x" * 5000))])
        except ConfigError as error:
            return serial, error
    raise AssertionError("the disk never became full")


def _is_as_acknowledged(database: Database, failed: int, error: ConfigError, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)
    assert database.end == at(failed - 1)
    assert [found.id for found in database.jobs()] == list(range(1, failed))


def test_a_file_that_may_not_grow_is_told_and_loses_nothing(tmp_path: Path, small_files: object) -> None:
    """The append fails in one line; reading goes on; everything that was acknowledged is there."""
    path = tmp_path / "config.db"
    database = Database.create(path, UUID)
    failed, error = _fill(database)
    assert failed > 5
    _is_as_acknowledged(database, failed, error, path)


def test_writing_goes_on_once_there_is_room_again(tmp_path: Path) -> None:
    """On a really full file system: the error names the remedy, and the same connection works after it."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        ballast = place / "ballast"
        ballast.write_bytes(b"x" * 400_000)
        path = place / "config.db"
        database = Database.create(path, UUID)
        failed, error = _fill(database)
        assert (error.code, "free space" in error.hint) == ("no_space", True)
        _is_as_acknowledged(database, failed, error, path)
        ballast.unlink()
        assert database.append(database.end, [entry(failed, job(failed))]).stored
        database.close()
        again = Database.open(path)
        assert [found.id for found in again.jobs()] == list(range(1, failed + 1))
        again.close()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
