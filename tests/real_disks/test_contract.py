"""The contract of disk templates on volumes that really are: its tests run in one of the machines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.real_disks.cluster import GROUP, RealCluster

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0


@pytest.mark.long_disks
@pytest.mark.parametrize("module", ["test_plain", "test_thin"])
def test_the_contract_of_volumes(real: RealCluster, module: str) -> None:
    """Devices, data and snapshots, which this machine itself cannot make without device-mapper."""
    options = "-p no:cacheprovider --basetemp=/tmp/contract --no-header"
    script = (
        f"cd {ROOT} && GNT_TEST_VG={GROUP} PYTHONDONTWRITEBYTECODE=1 timeout {PATIENCE:.0f}"
        f" {sys.executable} -m pytest {options} tests/noded/storage/{module}.py 2>&1"
    )
    done = real.machines["node3"].run("/bin/bash", "-c", script, check=False, seconds=PATIENCE + 60)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
