"""Debian's own client of the remote API (python3-ganeti-rapi), unchanged, against ours."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from gnt.opcodes.registry import ALL
from tests.rapi.room import objects
from tests.rapi.socket_room import SocketCase
from tests.rapi.test_resources import NODE, WEB

PYTHON = "/usr/bin/python3"
PROGRAM = """
import json, sys
from ganeti.rapi import client
port, authority = int(sys.argv[1]), sys.argv[2]
config = client.GenericCurlConfig(cafile=authority, use_signal=False, verify_hostname=False)
known = client.GanetiRapiClient("127.0.0.1", port=port, username="writer", password="secret1", curl_config_fn=config)

def attempt(what):
    try:
        return what()
    except client.GanetiApiError as error:
        return [type(error).__name__, error.code, str(error)]

print(json.dumps([
    known.GetVersion(),
    sorted(known.GetFeatures()),
    known.GetInfo()["name"],
    known.GetNodes(),
    known.GetNodes(bulk=True)[0]["mtotal"],
    known.GetInstances(),
    known.GetInstance("web1")["beparams"]["memory"],
    known.CreateInstance("create", "web2", "sharedfile", [{"size": 1024}], [{}], os="busybox", pnode="node1"),
    known.StartupInstance("web1"),
    known.ShutdownInstance("web1"),
    known.MigrateInstance("web1"),
    known.DeleteInstance("web1", dry_run=True),
    known.GetJobs(),
    known.GetJobStatus(7)["status"],
    known.WaitForJobCompletion(7, period=0),
    known.WaitForJobChange(7, ["status"], None, None),
    known.CancelJob(7),
    known.GetOperatingSystems(),
    known.Query("node", ["name"])["data"],
    known.GetInstanceConsole("web1")["kind"],
    attempt(lambda: known.GetInstance("nosuch")),
    attempt(lambda: known.RebootInstance("web1")),
    attempt(lambda: known.CreateInstance("create", "x", "floppy", [], [])),
]))
"""


def there() -> bool:
    """Say whether the client is installed."""
    try:
        done = subprocess.run(
            [PYTHON, "-c", "import ganeti.rapi.client"], capture_output=True, check=False, timeout=60, cwd="/"
        )
    except OSError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not there(), reason="python3-ganeti-rapi is not installed")
class DebianClient(SocketCase):
    """The client asks for nearly everything that there is."""

    async def test_the_client(self) -> None:
        """Results, and errors as the client's exceptions."""
        jobs = {"id": 7, "status": "success", "opresult": [[["busybox", True, False, False, []]]]}
        self.methods.answers |= {
            "Abilities": {"opcodes": sorted(ALL.keys() - {"OP_INSTANCE_REBOOT"})},
            "Query": objects(instance=[WEB], node=[NODE]),
            "QueryJobs": lambda _, fields: [[jobs.get(field) for field in fields]],
            "WaitForJobChange": [["success"], []],
            "CancelJob": [False, "too late"],
        }
        command = [PYTHON, "-c", PROGRAM, str(self.number), str(self.path / "ca.pem")]

        def run() -> Any:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=25, cwd="/")
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        found = await deferToThread(run)
        assert found[:3] == [2, sorted(found[1]), "demo"]
        assert found[3:8] == [["node1"], 1024, ["web1"], 512, 7]
        assert found[8:12] == [7, 7, 7, 7]
        assert found[12:17] == [[7], "success", True, {"job_info": ["success"], "log_entries": []}, [False, "too late"]]
        assert found[17:20] == [["busybox"], [[[0, "node1"]]], "ssh"]
        for failure, status, said in (
            (found[20], 404, "There is no instance named nosuch"),
            (found[21], 501, "OP_INSTANCE_REBOOT is not supported by this version"),
            (found[22], 400, "$.disk_template"),
        ):
            assert failure[:2] == ["GanetiApiError", status]
            assert said in failure[2]
