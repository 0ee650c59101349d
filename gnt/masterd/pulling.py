"""Reading another voter's log: a node that takes over gets what a majority may have and it lacks.

What it has instead, and no majority had, is cut off and kept aside, as on every other candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.masterd.nodes import Nodes
from gnt.model.epoch import Position
from gnt.model.errors import ConfigError
from gnt.model.objects import Node
from gnt.store.aside import keep_aside, would_be_cut
from gnt.store.changes import decode_entry
from gnt.store.database import Database
from gnt.store.vault import Vault
from gnt.wire.log_calls import LogRead

log: Final = Logger()

PIECE_BYTES: Final = 256 * 1024
BEHIND: Final = "behind"


async def pull(nodes: Nodes, runtime: Runtime, vault: Vault, database: Database, *, source: Node) -> None:
    """Make our log like that of another candidate. Raises `ConfigError`, or as a call does.

    Meanwhile the source takes nothing from an older master: it has promised.
    """
    pool = runtime.pools("store")
    after = database.end
    while True:
        piece = await nodes.call(source.uuid, LogRead(after=after, limit=PIECE_BYTES))
        if piece.after != after:
            here = await pool.run(database.common, piece.after) if piece.after is not None else None
            if here is None or piece.after is None or here.serial > piece.after.serial:
                raise ConfigError(
                    f"{source.name} has newer changes than this node, and its log does not reach back that far",
                    code=BEHIND,
                    hint=f"run gnt-cluster master-failover on {source.name}",
                )
            after = here
        elif not piece.entries:
            return
        else:
            after = await pool.run(_append, vault, database, after, piece.entries)


def _append(vault: Vault, database: Database, after: Position, encoded: Sequence[bytes]) -> Position:
    try:
        entries = [decode_entry(one) for one in encoded]
    except msgspec.DecodeError as error:
        raise ConfigError(f"a log entry cannot be read: {error}", code="bad_entries") from error
    lost = would_be_cut(database, after, entries)
    if lost:
        where = keep_aside(vault, lost)
        log.warn(
            "{count} change(s) that only this node had, from entry {first} on, are no part of the log: see {where}",
            count=len(lost),
            first=lost[0].position.serial,
            where=where,
        )
    result = database.append(after, entries)
    if not result.stored:
        raise AssertionError(f"the log holds {result.end}, not {after}")
    return entries[-1].position
