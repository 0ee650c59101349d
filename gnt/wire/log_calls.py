"""Node calls about the log of the configuration, and what a master-to-be asks first: `spec/node-rpc.md`, `design.md`.

Replication to the voters, promises, fences, and what became of a call whose answer was lost.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gnt.model.epoch import Epoch, Position
from gnt.wire.calls import SLOW, URGENT, NodeCall


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a voter's log ends, what is committed, and the highest epoch that it has promised."""

    end: Position
    committed: int
    promised: Epoch


class AskLog(NodeCall[LogState], tag="log_state", frozen=True, kw_only=True):
    """Ask where the node's log ends."""

    CHANGES = False
    DEADLINE = URGENT


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the caller may order changes, by a configuration that was true on a majority at `position`."""

    may_order: bool
    position: Position


class AskStanding(NodeCall[Standing], tag="standing", frozen=True, kw_only=True):
    """Ask what the node's copy of the configuration says of the caller; the door itself answers, as with `Rights`."""

    CHANGES = False
    DEADLINE = URGENT


class AppendAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the entries are on disk; if not, where the log of the node ends, to go back to the common point."""

    stored: bool
    end: Position


class LogAppend(NodeCall[AppendAnswer], tag="log_append", frozen=True, kw_only=True):
    """Store log entries after `previous` (encoded `gnt.store.changes.Entry`); conflicting ones are cut off.

    Not in the call table: an append is repeatable by itself.
    """

    DEADLINE = URGENT

    previous: Position
    entries: list[bytes]
    committed: int

    @property
    def lane(self) -> str:
        """The log is written in order."""
        return "log"


class LogSnapshot(NodeCall[None], tag="log_snapshot", frozen=True, kw_only=True):
    """Replace a candidate's whole store, for one that is too far behind or new; sent in pieces of 256 KiB.

    `offset` 0 begins anew; `last` puts the new store in place of the old one, atomically.
    """

    DEADLINE = SLOW

    transfer: str
    offset: int
    piece: bytes
    last: bool
    digest: str = ""

    @property
    def lane(self) -> str:
        """The log is written in order."""
        return "log"


class LogDiscard(NodeCall[None], tag="log_discard", frozen=True, kw_only=True):
    """Drop the store of a node that is no candidate any more (kept aside, mode 0600), and the authority's key.

    `before`: where the log ends at this place or behind it, both are kept: the node has become a candidate since.
    """

    before: Position | None = None

    @property
    def lane(self) -> str:
        """The log is written in order."""
        return "log"


class LogPiece(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of a node's log (encoded `gnt.store.changes.Entry`) behind `after`; `end` is where that log ends.

    `after` is what was asked for, or the last position before it that this log has, without entries. None: what was
    asked for is older than the log reaches back.
    """

    after: Position | None
    entries: list[bytes] = []
    end: Position


class LogRead(NodeCall[LogPiece], tag="log_read", frozen=True, kw_only=True):
    """Read a candidate's log, for a new master that lacks what a majority may have; `limit` in bytes."""

    CHANGES = False
    DEADLINE = URGENT

    after: Position
    limit: int


class PromiseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the epoch was promised, durably; `log` says where the voter stands either way."""

    granted: bool
    log: LogState


class Promise(NodeCall[PromiseAnswer], tag="promise", frozen=True, kw_only=True):
    """Promise to take changes from no epoch below `epoch`; with `ask_only` nothing is stored."""

    DEADLINE = URGENT

    epoch: Epoch
    ask_only: bool = False

    @property
    def lane(self) -> str:
        """In order with the log."""
        return "log"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a recorded call ended: state `done`, `failed`, `in_doubt` or `unknown` (never begun here)."""

    id: str
    state: str
    value: Any = None
    code: str = ""
    text: str = ""


class Fence(NodeCall[list[Outcome]], tag="fence", frozen=True, kw_only=True):
    """Refuse everything older than `epoch` from now on (durable), and answer when nothing older is still under way.

    The answer lists the outcome of each call of an older epoch that was under way or whose id is in `calls`.
    """

    epoch: Epoch
    calls: list[str] = []  # noqa: RUF012  (a struct copies its defaults)


class CallOutcome(NodeCall[Outcome], tag="call_outcome", frozen=True, kw_only=True):
    """Ask how a call ended; waits while it is still under way."""

    CHANGES = False

    id: str


class CallAbort(NodeCall[None], tag="call_abort", frozen=True, kw_only=True):
    """End a call that is under way, if its work can be ended."""

    DEADLINE = URGENT

    id: str
