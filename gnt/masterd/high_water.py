"""How far this node's store had come, kept in a file of its own: a store put back from an older copy is noticed.

Where there are other master candidates they notice it: a master that lacks what one of them has is refused. A cluster
of one has only this. It is written when the master daemon starts and stops; the node daemon's membership tells of
changes of the configuration between.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from gnt.daemon.files import write_atomically
from gnt.masterd.voting import voters
from gnt.model.epoch import Position
from gnt.model.errors import ConfigError
from gnt.model.layout import Layout
from gnt.store.reading import Reader
from gnt.wire.calls import Membership

MODE: Final = 0o600


class HighWater(msgspec.Struct, frozen=True, kw_only=True):
    """Of which cluster (UUID) the store was, and where its log ended."""

    cluster_uuid: str
    position: Position


def record(layout: Layout) -> None:
    """Write down where the store ends, unless it had come farther. Blocks; raises `ConfigError`, `OSError`."""
    reader = Reader.open(layout.config_db)
    try:
        mark = HighWater(cluster_uuid=reader.state().cluster_uuid, position=reader.log_end())
    finally:
        reader.close()
    known = _known(layout.high_water, HighWater, mark.cluster_uuid)
    if known is None or known < mark.position:
        write_atomically(layout.high_water, msgspec.json.encode(mark), MODE)


def refuse_older(layout: Layout, reader: Reader) -> None:
    """Refuse a store that ends before what this node has known, if nobody else could notice. Raises `ConfigError`."""
    cluster = reader.load_cluster(instances=False)
    if len(voters(cluster)) > 1:
        return
    end, uuid = reader.log_end(), reader.state().cluster_uuid
    marks = (_known(layout.high_water, HighWater, uuid), _known(layout.membership, Membership, uuid))
    known = max((mark for mark in marks if mark is not None), default=end)
    if end < known:
        raise ConfigError(
            f"{layout.config_db} is an older copy: it ends with entry {end.serial} of epoch {end.epoch.number}, this"
            f" node had entry {known.serial} of epoch {known.epoch.number}",
            code="older",
            hint="put the newer one back; or take this one as a new beginning: gnt-cluster backup FILE, then"
            " gnt-cluster restore --force FILE",
        )


def _known(path: Path, kind: type[HighWater | Membership], cluster_uuid: str) -> Position | None:
    try:
        mark = msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
    return mark.position if mark.cluster_uuid == cluster_uuid else None
