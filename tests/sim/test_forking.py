"""A world that goes on in another process is the world that it would have been."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from gnt.model.epoch import Epoch
from gnt.sim.disk import SimVault, Tear
from gnt.sim.exhaust import choose, count, exhaust, sample, strike
from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.forking import open_here
from gnt.sim.machine import seeded
from gnt.sim.seeds import run_seed, run_seeds, shape_of
from gnt.sim.story import read_story

STORY_FILES = Path(__file__).resolve().parents[1] / "scenarios"
STORY = read_story(STORY_FILES / "first_instance.txt")


class Uncut:
    """A life that nothing ends."""

    def __call__(self, moment: str, path: str) -> bool:
        """Live on."""
        return True

    def touched(self) -> None:
        """Let files change."""

    def full(self) -> bool:
        """Have room."""
        return False


def test_a_strike_in_a_copied_world_is_the_strike_in_a_run_of_its_own() -> None:
    """As many events, to the last; all strikes fall, and leave nothing of the one world in another."""
    strikes = sample(choose(count(STORY, 1)), 6)
    found = exhaust(STORY, 1, strikes, points={}, processes=2)
    assert not found.bad
    events = {str(one.strike): one.events for one in found.all}
    assert events == {str(one): strike(STORY, 1, one).events for one in strikes}


def test_a_copied_world_knows_no_more_than_the_one_that_it_was_copied_from() -> None:
    """What another connection has written before the copy is still news to a node daemon that had not looked yet."""
    handed_over = read_story(STORY_FILES / "master_failover.txt")
    strikes = [Strike(Kind.COMMIT, 0, Fault.MASTER_BEFORE), Strike(Kind.COMMIT, 1, Fault.MASTER_BEFORE)]
    assert not exhaust(handed_over, 1, strikes, points={}).bad


def test_what_is_open_in_a_copied_world_is_its_own(tmp_path: Path) -> None:
    """A node daemon that makes a disk has its directory open: in a copied world it is the copy that it goes on with."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for each in (theirs, ours):
        (each / "world").mkdir(parents=True)
        (each / "world/disk").write_bytes(b"0123456789")
    directory = os.open(theirs / "world", os.O_RDONLY | os.O_DIRECTORY)
    disk = os.open(theirs / "world/disk", os.O_RDWR)
    try:
        os.lseek(disk, 4, os.SEEK_SET)
        open_here(f"{theirs}/", f"{ours}/")
        os.close(os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
        os.write(disk, b"new")
    finally:
        os.close(directory)
        os.close(disk)
    assert sorted(path.name for path in (ours / "world").iterdir()) == ["disk", "made"]
    assert (ours / "world/disk").read_bytes() == b"0123new789"
    assert [path.name for path in (theirs / "world").iterdir()] == ["disk"]
    assert (theirs / "world/disk").read_bytes() == b"0123456789"


def test_a_store_that_was_set_aside_while_it_was_open_stays_open_in_a_copied_world(tmp_path: Path) -> None:
    """A node that leaves has no store under its name any more, and another has one that was replaced."""
    vault = SimVault(tmp_path / "config.db", cut=Uncut())
    vault.create("a cluster").close()
    database = vault.open()
    database.promise(Epoch(number=7, node="one"))
    vault.discard()
    vault.prepare_to_reopen()
    (left,) = vault.reopen()
    assert database.connection is not left
    assert database.state().promised.number == 7


def test_a_seed_in_a_copied_world_is_the_seed_in_a_run_of_its_own() -> None:
    """The same operations, faults and calls; other seeds before it make no difference."""
    seeds = [seed for seed in range(1, 40) if shape_of(seed) == shape_of(1)][:2]
    found = {one.seed: one for one in run_seeds(seeds, processes=2)}
    alone = run_seed(seeds[1])
    assert found[seeds[1]].happened == alone.happened
    assert found[seeds[1]].seconds == alone.seconds


def test_what_is_torn_in_a_file_that_has_gone_makes_no_file(tmp_path: Path) -> None:
    """A node that leaves its cluster removes its table of calls while that is open; an empty one is no table at all."""
    path = tmp_path / "calls.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE calls (id)")
    for name in ("calls.db", "calls.db-wal"):
        (tmp_path / name).unlink()
    tear = Tear(path)
    connection.execute("INSERT INTO calls VALUES (1)")
    put_back = tear.tear(seeded(1, "tear"))
    connection.close()
    put_back()
    assert not path.exists()
