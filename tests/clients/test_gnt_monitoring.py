"""gnt-monitoring, a package of the Python index that watches clusters over their remote API, unchanged."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.live import PASSWORD, live_cluster, wait_until

# It is nobody's dependency: whoever has installed it, or names it in GNT_MONITORING, has it tried.
PROGRAM = os.environ.get("GNT_MONITORING") or shutil.which("gnt-monitoring")
CHECKS = ("node-memory", "cluster-memory")


@pytest.mark.skipif(PROGRAM is None, reason="gnt-monitoring is not installed (pip install gnt-monitoring)")
def test_it_watches_the_cluster() -> None:
    """Its checks come to a result: OK, warning or critical, not "unknown"."""
    with live_cluster(1) as live:
        wait_until(lambda: live.rapi("/version")[0], "the remote API does not answer")
        for check in CHECKS:
            command = [
                str(PROGRAM),
                f"--rapi-host={live.address('node1')}",
                "--rapi-user=reader",
                f"--rapi-password={PASSWORD}",
                check,
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=live.base)
            assert done.returncode in {0, 1, 2}, f"{check}: {done.returncode} {done.stdout}{done.stderr}"
            assert "Traceback" not in done.stdout + done.stderr
