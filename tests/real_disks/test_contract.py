"""The contract of disk templates on volumes that really are: its tests run in one of the machines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.real_disks.cluster import GROUP, RealCluster

ROOT = Path(__file__).parents[2]
# Less than what a whole run of tests takes for one that hangs.
PATIENCE = 270.0
PARTS = {
    "data": "keeps_the_data or survives or goes_with_the_name",
    "snapshots": "snapshot",
    "growth": "growing or made_disk or assembling",
    "foreign": "foreign or adopting",
}


def passes_in_a_machine(real: RealCluster, what: str, which: str) -> None:
    """See that tests of one of the modules pass in a machine, those of which the names are as said."""
    options = "-p no:cacheprovider --basetemp=/tmp/contract --no-header"
    script = (
        f"cd {ROOT} && GNT_TEST_VG={GROUP} PYTHONDONTWRITEBYTECODE=1 timeout -s KILL {PATIENCE:.0f}"
        f" {sys.executable} -m pytest {options} tests/noded/storage/{what} -k '{which}' 2>&1"
    )
    done = real.machines["node3"].run("/bin/bash", "-c", script, check=False, seconds=PATIENCE + 20)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


@pytest.mark.long_disks
@pytest.mark.parametrize("part", list(PARTS))
@pytest.mark.parametrize(("module", "tests"), [("test_plain", "TestData"), ("test_thin", "TestThinVolumes")])
def test_the_contract_of_volumes(real: RealCluster, module: str, tests: str, part: str) -> None:
    """Devices, data and snapshots, which this machine itself cannot make without device-mapper."""
    passes_in_a_machine(real, f"{module}.py::{tests}", PARTS[part])


@pytest.mark.long_disks
@pytest.mark.parametrize(
    ("module", "which"),
    [
        ("test_plain", "usual_case or has_a_device or cut_short or rounded or one_lvs or stripes"),
        ("test_thin", "not TestThinVolumes"),
    ],
)
def test_what_only_lvm_can_get_wrong(real: RealCluster, module: str, which: str) -> None:
    """Activation by one command among it: where volumes get devices it goes another way than elsewhere."""
    passes_in_a_machine(real, f"{module}.py", which)
