"""Entries for tests of the store."""

from __future__ import annotations

import msgspec

from gnt.model.epoch import START, Epoch, Position
from gnt.store.changes import Archive, Change, Entry, Put, Remove, Space
from gnt.store.job_parts import part_key

FIRST = Epoch(number=1, node="node-a")
SECOND = Epoch(number=2, node="node-b")
START_OF_TIME = 1_700_000_000.0


def at(serial: int, epoch: Epoch = FIRST) -> Position:
    """Give a position."""
    return Position(epoch=epoch, serial=serial) if serial else START


def entry(serial: int, *changes: Change, epoch: Epoch = FIRST, job: int = 0, time: float = START_OF_TIME) -> Entry:
    """Give an entry in which all changes come from one job."""
    return Entry(at(serial, epoch), time, changes, (job,) * len(changes))


def job(number: int, status: str = "queued", filler: str = "") -> Put:
    """Give the change that writes a job."""
    return Put(Space.JOB, str(number), msgspec.json.encode({"id": number, "status": status, "filler": filler}))


def part(job: int, name: str, value: object) -> Put:
    """Give the change that writes a part of a job."""
    return Put(Space.PART, part_key(job, name), msgspec.json.encode(value))


def obj(key: str, text: str) -> Put:
    """Give the change that writes an object whose content does not matter."""
    return Put(Space.OBJECT, key, msgspec.json.encode({"text": text}))


def archive(*numbers: int) -> Archive:
    """Give the change that archives jobs."""
    return Archive(numbers)


def gone(space: Space, key: str) -> Remove:
    """Give the change that takes a row away."""
    return Remove(space, key)
