"""What a log loses when it is made like that of a newer master: no majority had it, and it is kept in a file.

The file holds one JSON object for each entry, in order: when and in which epoch it was made, and which rows it would
have changed. Only configuration has its values there: those of jobs may hold secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gnt.model.epoch import Position
from gnt.store.changes import Archive, Change, Entry, Put, Space
from gnt.store.database import Database
from gnt.store.vault import Vault

_LIMIT: Final = 64 * 2**20


def would_be_cut(database: Database, previous: Position, entries: Sequence[Entry]) -> list[Entry]:
    """Give the entries of a log that an append after `previous` would cut off."""
    if not entries or entries[0].position.serial > database.end.serial or previous.serial < database.base.serial:
        return []
    if database.position_at(previous.serial) != previous:
        return []
    last = previous
    for entry in entries:
        serial = entry.position.serial
        if serial > database.end.serial:
            return []
        if database.position_at(serial) != entry.position:
            return list(database.entries_after(last, _LIMIT) or ())
        last = entry.position
    return []


def uncommitted(old: Database, new: Database) -> list[Entry]:
    """Give the entries of a store that one taking its place does not have, as far as can be told."""
    start = max(old.committed, old.base.serial)
    found: list[Entry] = []
    while start < old.end.serial:
        behind = old.position_at(start)
        more = old.entries_after(behind, _LIMIT) if behind is not None else None
        if not more:
            break
        found.extend(more)
        start = more[-1].position.serial
    return [entry for entry in found if new.position_at(entry.position.serial) != entry.position]


def keep_aside(vault: Vault, entries: Sequence[Entry]) -> str:
    """Keep what is lost beside the store; gives where. Raises `ConfigError`."""
    first, last = entries[0].position, entries[-1].position
    lines = b"".join(msgspec.json.encode(_described(entry)) + b"\n" for entry in entries)
    return vault.set_aside(f"lost-{last.epoch.number}-{first.serial}-{last.serial}", lines)


def _described(entry: Entry) -> dict[str, object]:
    return {
        "serial": entry.position.serial,
        "epoch": str(entry.position.epoch),
        "time": entry.time,
        "jobs": sorted(set(entry.jobs) - {0}),
        "changes": [_change(change) for change in entry.changes],
    }


def _change(change: Change) -> dict[str, object]:
    if isinstance(change, Archive):
        return {"archive": list(change.jobs)}
    done: dict[str, object] = {"put" if isinstance(change, Put) else "remove": f"{change.space}/{change.key}"}
    if isinstance(change, Put) and change.space in {Space.OBJECT, Space.META}:
        done["value"] = msgspec.Raw(change.value)
    return done
