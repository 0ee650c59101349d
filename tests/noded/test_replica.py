"""A candidate's copy of the log: what it takes, what it refuses, what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.daemon.room import PAUSE, PIECE
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import NodeFailure, StaleEpoch
from gnt.noded.handler import CallContext
from gnt.noded.replica import LOG_ROOM, ROOM_AFTER, Replica
from gnt.store.changes import Entry, encode_entry
from gnt.store.database import Database
from gnt.store.vault import ROOM, FileVault
from gnt.wire.log_calls import AppendAnswer, LogAppend, LogDiscard, LogSnapshot, LogState
from tests.noded.places import place_below
from tests.store.support import FIRST, SECOND, at, entry, job

UUID = "8d5d2c2e-0a3f-4c8e-9a51-0a8f2e1c7a11"
_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]


class Node:
    """A replica in a real directory."""

    def __init__(self, root: Path) -> None:
        self.place = place_below(root)
        self.place.layout.data.mkdir(parents=True)
        self.path = self.place.layout.config_db
        self.replica = Replica(self.place)

    def begin(self, call: Any, epoch: Epoch = FIRST) -> Deferred[Any]:
        """Make a call in an epoch."""
        context = CallContext(id="1", epoch=epoch, progress=lambda _line: None)

        async def asking() -> Any:
            return await self.replica.handlers()[type(call)](call, context)

        return Deferred.fromCoroutine(asking())

    def ask(self, call: Any, epoch: Epoch = FIRST) -> Any:
        """Make a call that succeeds."""
        return _trial.successResultOf(self.begin(call, epoch))

    def refused(self, call: Any, epoch: Epoch = FIRST) -> Any:
        """Make a call that fails."""
        return _trial.failureResultOf(self.begin(call, epoch), NodeFailure, StaleEpoch).value

    def run(self, coroutine: Any) -> Any:
        """Await what ends at once."""
        return _trial.successResultOf(Deferred.fromCoroutine(coroutine))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Give a node without a store."""
    return Node(tmp_path)


def append(previous: Position, *entries: Entry, committed: int = 0) -> LogAppend:
    """Give an append."""
    return LogAppend(previous=previous, entries=[encode_entry(one) for one in entries], committed=committed)


def pieces(source: Path, transfer: str) -> list[LogSnapshot]:
    """Give the calls that send a copy."""
    vault = FileVault(source)
    snapshot = vault.snapshot(vault.open(), transfer)
    size = 8192
    return [
        LogSnapshot(
            transfer=transfer,
            offset=offset,
            piece=snapshot.read(offset, size),
            last=offset + size >= snapshot.size,
            digest=snapshot.digest,
        )
        for offset in range(0, snapshot.size, size)
    ]


def send(node: Node, source: Path, transfer: str = "t", epoch: Epoch = FIRST) -> None:
    """Send a copy in pieces."""
    for piece in pieces(source, transfer):
        node.ask(piece, epoch)


def source_store(path: Path, count: int = 2, uuid: str = UUID) -> Path:
    """Make a master's store."""
    database = Database.create(path, uuid)
    database.append(START, [entry(n, job(n)) for n in range(1, count + 1)], epoch=FIRST, committed=1)
    database.close()
    return path


def test_without_a_store_it_takes_only_a_copy(node: Node, tmp_path: Path) -> None:
    """An append is refused with the start as its end; then a copy comes, and appends go on behind it."""
    node.run(node.replica.start())
    assert node.replica.state() == LogState(end=START, committed=0, promised=START.epoch)
    assert node.ask(append(START, entry(1))) == AppendAnswer(stored=False, end=START)
    assert not node.path.exists()
    send(node, source_store(tmp_path / "source.db"))
    assert node.replica.state() == LogState(end=at(2), committed=1, promised=FIRST)
    assert node.ask(append(at(2), entry(3, job(3)), committed=3)) == AppendAnswer(stored=True, end=at(3))
    assert [found.id for found in Database.open(node.path).jobs()] == [1, 2, 3]


def test_it_goes_on_where_it_was_after_a_restart(node: Node, tmp_path: Path) -> None:
    """A new daemon reads the end from the file."""
    send(node, source_store(tmp_path / "source.db"))
    again = Replica(node.place)
    node.run(again.start())
    assert again.state().end == at(2)


def test_an_older_epoch_is_refused(node: Node, tmp_path: Path) -> None:
    """Also after the promise was made by an append only."""
    send(node, source_store(tmp_path / "source.db"))
    node.ask(append(at(2)), SECOND)
    assert isinstance(node.refused(append(at(2), entry(3))), StaleEpoch)
    assert node.replica.state().end == at(2)


def test_a_promise_is_kept_in_the_store(node: Node, tmp_path: Path) -> None:
    """Asking stores nothing; each number is promised once; a copy that comes later does not take it back."""
    source = source_store(tmp_path / "source.db")
    assert not node.run(node.replica.promise(SECOND, ask_only=False)).granted
    send(node, source)
    assert node.run(node.replica.promise(SECOND, ask_only=True)).granted
    assert node.replica.state().promised == FIRST
    answer = node.run(node.replica.promise(SECOND, ask_only=False))
    assert (answer.granted, answer.log.promised) == (True, SECOND)
    assert not node.run(node.replica.promise(Epoch(number=2, node="other"), ask_only=True)).granted
    send(node, source, "again", SECOND)
    assert node.replica.state().promised == SECOND


def test_while_the_master_daemon_runs_here_it_keeps_away(node: Node, tmp_path: Path) -> None:
    """Everything is refused with who holds the store; afterwards it looks anew."""
    send(node, source_store(tmp_path / "source.db"))
    vault = FileVault(node.path)
    vault.hold("gnt-masterd")
    database = vault.open()
    database.append(at(2), [entry(3, job(3))], epoch=SECOND)
    error = node.refused(append(at(2), entry(3)))
    assert (error.code, "gnt-masterd" in error.text, error.retry) == ("in_use", True, True)
    assert node.refused(LogDiscard()).code == "in_use"
    database.close()
    vault.release()
    assert node.run(node.replica.refresh()) == LogState(end=at(3), committed=1, promised=SECOND)


def test_a_copy_of_another_cluster_or_an_older_one_is_refused(node: Node, tmp_path: Path) -> None:
    """What is here stays."""
    send(node, source_store(tmp_path / "source.db"))
    node.ask(append(at(2), entry(3, job(3)), committed=3))
    other = source_store(tmp_path / "other.db", uuid="another")
    older = source_store(tmp_path / "older.db")
    for source, code in ((other, "other_cluster"), (older, "older")):
        *before, last = pieces(source, source.stem)
        for piece in before:
            node.ask(piece)
        assert node.refused(last).code == code
    assert node.run(node.replica.refresh()).end == at(3)


def test_pieces_that_do_not_fit_are_refused(node: Node) -> None:
    """Damaged, missing, or with a name that is none."""
    damaged = LogSnapshot(transfer="t", offset=0, piece=b"SQLite format 3\0", last=True, digest="0" * 64)
    assert node.refused(damaged).code == "gap"
    missing = LogSnapshot(transfer="u", offset=10, piece=b"x", last=False)
    assert node.refused(missing).code == "gap"
    outside = LogSnapshot(transfer="../x", offset=0, piece=b"x", last=False)
    assert node.refused(outside).code == "bad_transfer"
    assert node.refused(LogAppend(previous=START, entries=[b"\xc1garbage"], committed=0)).code == "bad_entries"


def test_a_node_that_is_no_candidate_any_more_sets_its_store_aside(node: Node, tmp_path: Path) -> None:
    """It ends at the start again."""
    send(node, source_store(tmp_path / "source.db"))
    node.ask(LogDiscard())
    assert node.replica.state().end == START
    assert not node.path.exists()
    assert (node.path.parent / "config.db.aside").stat().st_mode & 0o77 == 0
    node.ask(LogDiscard())


def test_what_a_node_gives_up_cannot_overtake_what_it_was_given(node: Node, tmp_path: Path) -> None:
    """A call that comes late finds a longer log, and leaves log and authority; one that is meant takes both."""
    send(node, source_store(tmp_path / "source.db"))
    key = node.place.layout.authority_key
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("KEY")
    node.ask(LogDiscard(before=at(2)))
    assert (key.exists(), node.path.exists()) == (True, True)
    later = Position(epoch=Epoch(number=FIRST.number + 1, node="b"), serial=1)
    node.ask(LogDiscard(before=later))
    assert (key.exists(), node.path.exists()) == (False, False)


def test_a_damaged_store_is_told_and_nothing_ends(node: Node) -> None:
    """The daemon starts; calls say what is wrong."""
    node.path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    node.run(node.replica.start())
    assert "damaged" in node.refused(append(START)).text


def test_stopping_leaves_one_file(node: Node, tmp_path: Path) -> None:
    """The write-ahead log is folded in."""
    send(node, source_store(tmp_path / "source.db"))
    node.ask(append(at(2), entry(3, job(3))))
    node.run(node.replica.stop())
    assert sorted(path.name for path in node.path.parent.iterdir()) == ["config.db", "config.db.lock"]


def test_the_log_gets_its_room_a_moment_after_the_first_changes(node: Node, tmp_path: Path) -> None:
    """Whoever sends a copy of the store, or makes this node a candidate, does not wait for it; nor is it done twice."""
    source = tmp_path / "master.db"
    Database.create(source, UUID).append(START, [entry(1, job(1))], epoch=FIRST, committed=1)
    for call in pieces(source, "t1"):
        node.ask(call)
    wal = Path(f"{node.path}-wal")
    assert not wal.exists() or wal.stat().st_size < ROOM // 2
    assert node.ask(append(at(1), entry(2, job(2)), committed=1)).stored
    assert node.ask(append(at(2), entry(3, job(3)), committed=2)).stored
    assert wal.stat().st_size < LOG_ROOM // 2
    clock: Any = node.place.runtime.clock
    clock.advance(ROOM_AFTER)
    assert wal.stat().st_size <= PIECE
    clock.pump([PAUSE] * (LOG_ROOM // PIECE))
    before = wal.stat().st_size
    assert before == LOG_ROOM
    assert node.ask(append(at(3), entry(4, job(4)), committed=3)).stored
    clock.advance(ROOM_AFTER)
    assert wal.stat().st_size == before


def test_a_daemon_that_stops_makes_no_room(node: Node, tmp_path: Path) -> None:
    """Its log is folded in, and stays away."""
    send(node, source_store(tmp_path / "source.db"))
    assert node.ask(append(at(2), entry(3, job(3)))).stored
    node.run(node.replica.stop())
    clock: Any = node.place.runtime.clock
    clock.advance(ROOM_AFTER)
    assert not Path(f"{node.path}-wal").exists()
