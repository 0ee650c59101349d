"""A candidate's store against a model of a few lines, over any sequence of appends, cuts, commits and crashes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gnt.model.epoch import START, Epoch, Position
from gnt.store.changes import Archive, Change, Entry, Put, Remove, Space
from gnt.store.database import Database
from tests.store.support import START_OF_TIME, job, part

KEYS = st.sampled_from(["a", "b", "c"])
CHANGES = st.lists(
    st.one_of(
        st.builds(
            lambda space, key, value: Put(space, key, str(value).encode()),
            st.sampled_from([Space.OBJECT, Space.META, Space.SECRET]),
            KEYS,
            st.integers(0, 9),
        ),
        st.builds(Remove, st.sampled_from([Space.OBJECT, Space.META, Space.SECRET]), KEYS),
        st.builds(job, st.integers(1, 3), st.sampled_from(["queued", "running"])),
        st.builds(lambda number: Remove(Space.JOB, str(number)), st.integers(1, 3)),
        st.builds(part, st.integers(1, 3), st.sampled_from(["op/0", "op/1", "log/1"]), st.integers(0, 9)),
        st.builds(lambda number, name: Remove(Space.PART, f"{number}/{name}"), st.integers(1, 3), st.just("op/0")),
        st.builds(lambda number: Archive((number,)), st.integers(1, 3)),
    ),
    max_size=4,
)


def state_after(entries: list[Entry]) -> tuple[dict[tuple[Space, str], bytes], set[int]]:
    """Give rows and archived jobs after all entries, the plain way."""
    rows: dict[tuple[Space, str], bytes] = {}
    archived: set[int] = set()
    for entry in entries:
        for change in entry.changes:
            if not isinstance(change, Archive) and change.space is Space.JOB:
                parts = [key for space, key in rows if space is Space.PART and key.startswith(f"{change.key}/")]
                for key in parts:
                    del rows[Space.PART, key]
            if isinstance(change, Put):
                rows[change.space, change.key] = change.value
            elif isinstance(change, Remove):
                rows.pop((change.space, change.key), None)
        jobs = {int(key) for space, key in rows if space is Space.JOB}
        # A job that went and came again within one entry keeps its place among the archived.
        archived &= jobs
        archived |= {number for change in entry.changes if isinstance(change, Archive) for number in change.jobs} & jobs
    return rows, archived


class Candidate(RuleBasedStateMachine):
    """The log as a list; what is committed never goes."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Database.create(None, "uuid")
        self.entries: list[Entry] = []
        self.epoch = 1
        self.committed = 0

    def position(self, serial: int) -> Position:
        """Give where the entry of that serial stands."""
        return self.entries[serial - 1].position if serial else START

    def entry(self, serial: int, changes: list[Change]) -> Entry:
        """Make an entry of the present epoch."""
        position = Position(Epoch(self.epoch, "n"), serial)
        return Entry(position, START_OF_TIME, tuple(changes), (0,) * len(changes))

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=3), commit=st.booleans())
    def append(self, changes: list[list[Change]], commit: bool) -> None:
        """Go on as the same master."""
        end = len(self.entries)
        new = [self.entry(end + number, one) for number, one in enumerate(changes, 1)]
        committed = end + len(new) if commit else 0
        assert self.database.append(self.position(end), new, committed=committed).stored
        self.entries += new
        self.committed = max(self.committed, committed)

    @precondition(lambda self: len(self.entries) > self.committed)
    @rule(data=st.data(), changes=CHANGES)
    def replace(self, data: st.DataObject, changes: list[Change]) -> None:
        """Come as a new master with other entries behind some point that is not committed."""
        self.epoch += 1
        keep = data.draw(st.integers(self.committed, len(self.entries) - 1))
        new = self.entry(keep + 1, changes)
        assert self.database.append(self.position(keep), [new]).stored
        self.entries = [*self.entries[:keep], new]

    @precondition(lambda self: bool(self.entries))
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """Send an append a second time."""
        start = data.draw(st.integers(0, len(self.entries) - 1))
        stop = data.draw(st.integers(start + 1, len(self.entries)))
        assert self.database.append(self.position(start), self.entries[start:stop]).stored

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """More is on a majority."""
        self.committed = data.draw(st.integers(self.committed, len(self.entries)))
        self.database.mark_committed(self.committed)

    @rule()
    def crash(self) -> None:
        """Start the daemon again."""
        self.database = Database.adopt(self.database.connection)

    @invariant()
    def equal(self) -> None:
        """Rows, archive and ends are those of the model."""
        rows, archived = state_after(self.entries)
        found = {
            (space, key): value
            for space in (Space.OBJECT, Space.META, Space.SECRET, Space.PART)
            for key, value in self.database.rows(space)
        }
        live = {(Space.JOB, str(row.id)): row.row for row in self.database.jobs()}
        old = {(Space.JOB, str(row.id)): row.row for row in self.database.jobs(live=False)}
        assert found | live | old == rows
        assert {int(key) for _, key in old} == archived
        assert self.database.end == self.position(len(self.entries))
        assert self.database.committed == self.committed


TestCandidate = Candidate.TestCase
TestCandidate.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
