"""What a commit is: changes to rows, and the log entry that carries them.

A candidate applies the same entries in the same order, so a row is never changed by anything but an entry.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gnt.model.epoch import Position


class Space(StrEnum):
    """What a row holds. Only `OBJECT` rows have history; `SECRET` rows leave none."""

    OBJECT = "object"  # key "<kind>/<uuid>"; value: JSON of the model's struct
    JOB = "job"  # key: decimal id; value: JSON of the job; put or removed, it takes all parts of the job along
    PART = "part"  # key "<job>/…": what of a job was written after its row: `gnt.store.job_parts`
    UNDO = "undo"  # key "<job>/<opcode index>/<number>"; value: JSON of a step that is open
    DEBT = "debt"  # key "<node uuid>/<job>/<number>"; value: JSON of an action that the node owes
    # Keys: "<job>/…" (gone when the job ends), "object/<kind>/<uuid>", "rapi-token/<id>"; value: bytes.
    SECRET = "secret"  # noqa: S105
    META = "meta"  # key: name; value: JSON ("last_job", "drained", "cluster_serial", …)


class Put(msgspec.Struct, frozen=True, tag="put", array_like=True):
    """Write a row."""

    space: Space
    key: str
    value: bytes


class Remove(msgspec.Struct, frozen=True, tag="remove", array_like=True):
    """Take a row away; one that is not there stays away."""

    space: Space
    key: str


class Archive(msgspec.Struct, frozen=True, tag="archive", array_like=True):
    """Move jobs out of the live queue; they stay readable."""

    jobs: tuple[int, ...]


Change = Put | Remove | Archive


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One group commit in the log: where it stands, when it was made (seconds), what it changes.

    `job` names the job for which an object was changed (0: none), for history; one value for each change.
    """

    position: Position
    time: float
    changes: tuple[Change, ...]
    jobs: tuple[int, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """Encode an entry as it crosses the wire and stands in the log table."""
    return _encoder.encode(entry)


def decode_entry(data: bytes) -> Entry:
    """Decode an entry; raises `msgspec.DecodeError` on damage."""
    return _decoder.decode(data)
