"""How much room there is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gnt.noded.processes import Finished, IProcesses
from gnt.noded.storage.units import StorageUnits, parse_groups
from gnt.wire.calls import StorageFacts, StorageUnit
from tests.noded.places import context, place_below

_trial: Any = SynchronousTestCase()

VGS = "  xenvg|1023.50|wz--n-|2048.00|4.00\n  ro|10.00|rz--n-|20.00|4.00\n\n  broken line\n"


@implementer(IProcesses)
class Scripted:
    """Gives one answer to whatever is run."""

    def __init__(self, answer: Finished) -> None:
        self.answer = answer
        self.runs: list[list[str]] = []
        self.environ: dict[str, str] = {}
        self.contexts: list[Any] = []

    async def run(self, argv: Any, **options: Any) -> Finished:
        """Remember and answer."""
        self.environ = options["env"]
        self.contexts.append(options.get("context"))
        self.runs.append(list(argv))
        return self.answer

    async def end_leftovers(self) -> list[str]:
        """Nothing is ever left."""
        return []


def facts(tmp_path: Path, processes: Scripted, *units: StorageUnit) -> tuple[list[StorageFacts], dict[str, str]]:
    """Ask for units."""
    part = StorageUnits(place_below(tmp_path), processes)
    return _trial.successResultOf(ensureDeferred(part.facts(units, context())))  # type: ignore[no-any-return]


def test_a_directory_and_one_that_is_missing(tmp_path: Path) -> None:
    """The file system's free and total MiB; None where there is nothing."""
    silent = Scripted(Finished(status=0, signal=None))
    found, problems = facts(
        tmp_path, silent, StorageUnit(kind="file", key=str(tmp_path)), StorageUnit(kind="file", key="/no/such")
    )
    system = os.statvfs(tmp_path)
    assert found[0].size == system.f_frsize * system.f_blocks >> 20
    assert found[0].free is not None
    assert 0 <= found[0].free <= found[0].size
    assert found[1] == StorageFacts(kind="file", key="/no/such", free=None, size=None)
    assert problems == {}


def test_volume_groups(tmp_path: Path) -> None:
    """Asked for once, whatever the number of groups; read-only and missing ones are None."""
    lvm = Scripted(Finished(status=0, signal=None, output=VGS))
    found, problems = facts(tmp_path, lvm, *(StorageUnit(kind="lvm-vg", key=key) for key in ("xenvg", "ro", "none")))
    assert [(one.free, one.size, one.extent) for one in found] == [(1023, 2048, 4), (None, None, 0), (None, None, 0)]
    assert problems == {}
    assert [run[0] for run in lvm.runs] == ["vgs"]


def test_lvm_is_asked_in_the_daemons_own_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator who has LVM's settings elsewhere sees the same groups everywhere."""
    monkeypatch.setenv("LVM_SYSTEM_DIR", "/etc/other-lvm")
    lvm = Scripted(Finished(status=0, signal=None, output=VGS))
    facts(tmp_path, lvm, StorageUnit(kind="lvm-vg", key="xenvg"))
    assert lvm.environ["LVM_SYSTEM_DIR"] == "/etc/other-lvm"


def test_every_program_belongs_to_the_call(tmp_path: Path) -> None:
    """So that a call which is given up ends them."""
    silent = Scripted(Finished(status=0, signal=None))
    within = context()
    units = [StorageUnit(kind=kind, key="xenvg") for kind in ("lvm-vg", "lvm-pv")]
    _trial.successResultOf(ensureDeferred(StorageUnits(place_below(tmp_path), silent).facts(units, within)))
    assert [argv[0] for argv in silent.runs] == ["vgs", "pvs"]
    assert all(each is within for each in silent.contexts)


def test_without_lvm_there_are_no_groups(tmp_path: Path) -> None:
    """A machine without LVM is no problem."""
    lvm = Scripted(Finished(status=127, signal=None, errors="cannot run vgs: No such file or directory"))
    found, problems = facts(tmp_path, lvm, StorageUnit(kind="lvm-vg", key="xenvg"))
    assert (found[0].size, problems) == (None, {})


def test_lvm_that_fails(tmp_path: Path) -> None:
    """The last line of what it said becomes the problem; other units are reported all the same."""
    lvm = Scripted(Finished(status=5, signal=None, errors="warning\n  no permission\n"))
    found, problems = facts(
        tmp_path, lvm, StorageUnit(kind="lvm-vg", key="xenvg"), StorageUnit(kind="file", key=str(tmp_path))
    )
    assert problems == {"lvm-vg xenvg": "vgs exited with exit code 5: no permission"}
    assert found[0].size is None
    assert found[1].size is not None


def test_other_kinds_are_named(tmp_path: Path) -> None:
    """Nothing is silently left out."""
    silent = Scripted(Finished(status=0, signal=None))
    _, problems = facts(tmp_path, silent, StorageUnit(kind="rados", key="rbd"))
    assert problems == {"rados rbd": "storage of the kind 'rados' is not reported on"}


def test_reading_vgs() -> None:
    """Whole MiB by name, without what is read-only or no line of the table."""
    assert parse_groups(VGS) == {"xenvg": (1023, 2048, 4)}
