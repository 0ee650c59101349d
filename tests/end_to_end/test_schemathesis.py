"""schemathesis against a real cluster: what the description allows, and much that it does not: no server error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.live import PASSWORD, live_cluster

SECONDS = 30
CONFIGURATION = """\
# 501 names an opcode that this version does not carry out, 503 a console that there is not.
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 503]
"""
# The stream goes on for ever; waiting for a change that never comes takes ten seconds.
LEFT_OUT = ("/3/events", "/2/jobs/{job_id}/wait", "/2/os")


def test_without_one_server_error(tmp_path: Path) -> None:
    """Bounded in time; afterwards all daemons still serve, and none has met what nobody thought of."""
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with live_cluster(1) as live:
        url = f"https://{live.address('node1')}:5080"
        command = [
            Path(sys.executable).parent / "schemathesis",
            f"--config-file={tmp_path / 'schemathesis.toml'}",
            "run",
            f"{url}/3/openapi.json",
            f"--auth=demo:{PASSWORD}",
            "--tls-verify=false",
            "--checks=not_a_server_error,content_type_conformance,response_schema_conformance",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=8",
            f"--max-time={SECONDS}",
            "--request-timeout=20",
            "--generation-database=none",
            "--suppress-health-check=all",
            "--continue-on-failure",
            "--no-color",
            *(f"--exclude-path={path}" for path in LEFT_OUT),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS + 60, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        tried = re.search(r"(\d+) generated", done.stdout)
        assert tried is not None, done.stdout[-3000:]
        assert int(tried[1]) > 300
        assert live.rapi("/2/info")[0] == 200
        for daemon in ("gnt-masterd", "gnt-rapi"):
            assert "unexpectedly" not in live.log("node1", daemon)
            assert "Traceback" not in live.log("node1", daemon)
