"""Writing to a simulated mirror, and what it keeps on record so that its sides can be brought into step again.

A write is acknowledged when every side that is in touch has it, on disk or not. On disk it is, on all of them, when it
was flushed. So two things are remembered of what was not flushed, each by the one that may have to know:

* the primary side has the pieces in its activity log, on its metadata volume, before it writes to them: after a crash
  it cannot say what of them came to its disk. They count as not in step when it gets its volumes again (`apply-al`);
* as long as it lives it knows what its peer has not said to be on disk (the transfer log): should the peer go away, it
  counts these pieces as behind.
"""

from __future__ import annotations

from gnt.sim.content import changed_pieces, content_of, copy_pieces, patched
from gnt.sim.lvm import MIB
from gnt.sim.mirror_sides import MirrorMachine, Side


def write(side: Side, offset: int, data: bytes) -> bool:
    """Write as a guest does; True when it is acknowledged: then it is on every side that is in touch."""
    if not side.primary or (not side.good and side.good_peer is None):
        return False
    pieces = set(range(offset // MIB, (offset + len(data) - 1) // MIB + 1))
    _begin(side, pieces)
    for each in _holding(side):
        each.machine.cache.write(str(each.path), offset, data)
        each.seen = patched(each.seen, offset, data)
    _note(side, pieces)
    return True


def flush(side: Side) -> bool:
    """Have all that was written on disk, on every side that is in touch; True when that is acknowledged."""
    if not side.good and side.good_peer is None:
        return False
    for each in _holding(side):
        each.machine.cache.flush(str(each.path))
    side.unconfirmed.clear()
    return True


def spread(machine: MirrorMachine) -> None:
    """Hear that programs or the node daemon may have written to the devices of a machine, and synced it all."""
    for side in machine.sides.values():
        if side.primary and side.good:
            now = content_of(side.path)
            pieces = changed_pieces(side.seen, now)
            if pieces:
                _begin(side, pieces)
                side.seen = now
                if side.peer is not None and side.peer.data is not None:
                    copy_pieces(side.path, side.peer.path, pieces)
                    side.peer.seen = content_of(side.peer.path)
                _note(side, pieces)
                flush(side)


def _holding(side: Side) -> list[Side]:
    """Give those that a write to a side goes to."""
    return [each for each in (side, side.peer) if each is not None and each.data is not None]


def _begin(side: Side, pieces: set[int]) -> None:
    if side.data is not None:
        side.known.active |= pieces
        if side.peer is not None and side.peer.data is not None:
            side.unconfirmed |= pieces


def _note(side: Side, pieces: set[int]) -> None:
    """Put on record what the other side lacks of what was written."""
    holding = _holding(side)
    if len(holding) == 1:
        holding[0].known.behind |= pieces
