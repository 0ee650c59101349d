"""Every method of Debian's own client of the remote API (python3-ganeti-rapi), unchanged, against ours."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from tests.rapi.socket_room import SocketCase
from tests.rapi.test_debian_client import PYTHON, there
from tests.rapi.test_walk import NAMES, everything

UUID = NAMES["uuid"]
DISKS: list[Any] = [{"size": 1024}]
CREATION = {"os": "busybox", "pnode": "node1", "hvparams": {}, "beparams": {"memory": 256}}
# For each method its arguments, those by name, and the opcodes of the job that it submits; for others what it gives.
JOBS: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "ActivateInstanceDisks": (["web1"], {"ignore_size": True}, ["INSTANCE_ACTIVATE_DISKS"]),
    "AddClusterTags": ([["a", "b"]], {"dry_run": True}, ["TAGS_SET"]),
    "AddGroupTags": (["default", ["a"]], {}, ["TAGS_SET"]),
    "AddInstanceTags": (["web1", ["a"]], {"reason": "why"}, ["TAGS_SET"]),
    "AddNetworkTags": (["lan", ["a"]], {}, ["TAGS_SET"]),
    "AddNodeTags": (["node1", ["a"]], {}, ["TAGS_SET"]),
    "AssignGroupNodes": (["default", ["node2"]], {"force": True}, ["GROUP_ASSIGN_NODES"]),
    "ConnectNetwork": (["lan", "default", "bridged", "br0"], {}, ["NETWORK_CONNECT"]),
    "CreateGroup": (["second"], {"alloc_policy": "preferred"}, ["GROUP_ADD"]),
    "CreateInstance": (["create", "web2", "sharedfile", DISKS, [{}]], CREATION, ["INSTANCE_CREATE"]),
    "CreateNetwork": (["lan", "192.0.2.0/24"], {"gateway": "192.0.2.1", "tags": "a"}, ["NETWORK_ADD"]),
    "DeactivateInstanceDisks": (["web1"], {"force": True}, ["INSTANCE_DEACTIVATE_DISKS"]),
    "DeleteClusterTags": ([["a"]], {}, ["TAGS_DEL"]),
    "DeleteGroup": (["second"], {"dry_run": True}, ["GROUP_REMOVE"]),
    "DeleteGroupTags": (["default", ["a"]], {}, ["TAGS_DEL"]),
    "DeleteInstance": (["web1"], {"dry_run": True}, ["INSTANCE_REMOVE"]),
    "DeleteInstanceTags": (["web1", ["a"]], {}, ["TAGS_DEL"]),
    "DeleteNetwork": (["lan"], {}, ["NETWORK_REMOVE"]),
    "DeleteNetworkTags": (["lan", ["a"]], {}, ["TAGS_DEL"]),
    "DeleteNodeTags": (["node1", ["a"]], {}, ["TAGS_DEL"]),
    "DisconnectNetwork": (["lan", "default"], {}, ["NETWORK_DISCONNECT"]),
    "EvacuateNode": (["node1"], {"mode": "primary-only", "iallocator": "hail", "accept_old": True}, ["NODE_EVACUATE"]),
    "ExportInstance": (["web1", "local", "node2"], {"shutdown": True}, ["BACKUP_EXPORT"]),
    "FailoverInstance": (["web1"], {"ignore_consistency": True}, ["INSTANCE_FAILOVER"]),
    "GetInstanceInfo": (["web1"], {"static": True}, ["INSTANCE_QUERY_DATA"]),
    "GetNodeStorageUnits": (["node1", "lvm-vg", "name,size"], {}, ["NODE_QUERY_STORAGE"]),
    "GrowInstanceDisk": (["web1", 0, 1024], {"wait_for_sync": True}, ["INSTANCE_GROW_DISK"]),
    "InstancesMultiAlloc": (["@allocations"], {}, ["INSTANCE_MULTI_ALLOC"]),
    "MigrateInstance": (["web1"], {"mode": "live", "cleanup": False, "target_node": "node2"}, ["INSTANCE_MIGRATE"]),
    "MigrateNode": (["node1"], {"mode": "live", "target_node": "node2"}, ["NODE_MIGRATE"]),
    "ModifyCluster": ([], {"maintain_node_health": False}, ["CLUSTER_SET_PARAMS"]),
    "ModifyGroup": (["default"], {"alloc_policy": "last_resort"}, ["GROUP_SET_PARAMS"]),
    "ModifyInstance": (["web1"], {"beparams": {"vcpus": 2}}, ["INSTANCE_SET_PARAMS"]),
    "ModifyNetwork": (["lan"], {"gateway": "192.0.2.9"}, ["NETWORK_SET_PARAMS"]),
    "ModifyNode": (["node1"], {"drained": True}, ["NODE_SET_PARAMS"]),
    "ModifyNodeStorageUnits": (["node1", "lvm-pv", "sda"], {"allocatable": False}, ["NODE_MODIFY_STORAGE"]),
    "PowercycleNode": (["node1"], {"force": True}, ["NODE_POWERCYCLE"]),
    "PrepareExport": (["web1", "remote"], {}, ["BACKUP_PREPARE"]),
    "RebootInstance": (["web1"], {"reboot_type": "soft", "ignore_secondaries": True}, ["INSTANCE_REBOOT"]),
    "RecreateInstanceDisks": (["web1"], {"disks": [0], "nodes": ["node2"]}, ["INSTANCE_RECREATE_DISKS"]),
    "RedistributeConfig": ([], {}, ["CLUSTER_REDIST_CONF"]),
    "ReinstallInstance": (["web1"], {"os": "busybox", "no_startup": True}, ["INSTANCE_SHUTDOWN", "INSTANCE_REINSTALL"]),
    "RenameGroup": (["default", "first"], {}, ["GROUP_RENAME"]),
    "RenameInstance": (["web1", "web2"], {"ip_check": False}, ["INSTANCE_RENAME"]),
    "RepairNodeStorageUnits": (["node1", "lvm-vg", "xenvg"], {}, ["REPAIR_NODE_STORAGE"]),
    "ReplaceInstanceDisks": (["web1"], {"disks": [0, 1], "iallocator": "hail"}, ["INSTANCE_REPLACE_DISKS"]),
    "SetNodeRole": (["node1", "offline"], {"force": True, "auto_promote": True}, ["NODE_SET_PARAMS"]),
    "ShutdownInstance": (["web1"], {"no_remember": True, "timeout": 5}, ["INSTANCE_SHUTDOWN"]),
    "StartupInstance": (["web1"], {"no_remember": True}, ["INSTANCE_STARTUP"]),
}
GIVEN: dict[str, tuple[list[Any], dict[str, Any], Any]] = {
    "AddFilter": ([5, [["jobid", [">", "id", 9]]], "PAUSE"], {}, UUID),
    "CancelJob": ([7], {}, [True, "done"]),
    "DeleteFilter": ([UUID], {}, None),
    "GetClusterTags": ([], {}, ["a"]),
    "GetFeatures": ([], {}, 4),
    "GetFilter": ([UUID], {}, {"uuid": UUID}),
    "GetFilters": ([], {"bulk": True}, 1),
    "GetGroup": (["default"], {}, {"name": "default"}),
    "GetGroupTags": (["default"], {}, ["a"]),
    "GetGroups": ([], {}, ["default"]),
    "GetInfo": ([], {}, {"name": "demo"}),
    "GetInstance": (["web1"], {"reason": "why"}, {"name": "web1"}),
    "GetInstanceConsole": (["web1"], {}, {"kind": "ssh"}),
    "GetInstanceTags": (["web1"], {}, ["a"]),
    "GetInstances": ([], {"bulk": True}, 1),
    "GetJobStatus": ([7], {}, {"status": "success"}),
    "GetJobs": ([], {}, [7]),
    "GetNetwork": (["lan"], {}, {"name": "lan"}),
    "GetNetworkTags": (["lan"], {}, ["a"]),
    "GetNetworks": ([], {}, ["lan"]),
    "GetNode": (["node1"], {}, {"name": "node1"}),
    "GetNodeRole": (["node1"], {}, "master"),
    "GetNodeTags": (["node1"], {}, ["a"]),
    "GetNodes": ([], {}, ["node1"]),
    "GetOperatingSystems": ([], {}, []),
    "GetVersion": ([], {}, 2),
    "InstanceAllocation": (["create", "web2", "sharedfile", DISKS, [{}]], CREATION, {"name": "web2"}),
    "Query": (["node", ["name"]], {"qfilter": ["|", ["=", "name", "node1"]]}, {"data": [[[0, "node1"]]]}),
    "QueryFields": (["node"], {"fields": ["name"]}, {"fields": []}),
    "ReplaceFilter": ([UUID, 5, [], "REJECT"], {}, UUID),
    "WaitForJobChange": ([7, ["status"], None, None], {}, {"job_info": ["success"], "log_entries": []}),
    "WaitForJobCompletion": ([7], {"period": 0}, True),
}
PROGRAM = """
import inspect, json, sys
from ganeti.rapi import client
port, authority, calls = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
config = client.GenericCurlConfig(cafile=authority, use_signal=False, verify_hostname=False)
known = client.GanetiRapiClient("127.0.0.1", port=port, username="writer", password="secret1", curl_config_fn=config)
names = [name for name, _ in inspect.getmembers(client.GanetiRapiClient, inspect.isfunction) if name[0] != "_"]
found = {}
for name, (args, options) in calls.items():
    if args == ["@allocations"]:
        one = known.InstanceAllocation("create", "web2", "sharedfile", [{"size": 1}], [{}], os="busybox")
        args = [[one]]
    try:
        found[name] = getattr(known, name)(*args, **options)
    except client.GanetiApiError as error:
        found[name] = ["failed", error.code, str(error)]
print(json.dumps([sorted(names), found]))
"""


@pytest.mark.skipif(not there(), reason="python3-ganeti-rapi is not installed")
class EveryMethod(SocketCase):
    """One of everything, and a client that asks for all of it."""

    timeout = 90

    async def test_every_method(self) -> None:
        """None is left out; each gives what its user expects, and makes the job that it is for."""
        submitted: list[list[str]] = []

        def submit(ops: list[dict[str, Any]], _within: float | None = None) -> int:
            submitted.append([str(op["OP_ID"]).removeprefix("OP_") for op in ops])
            return 17

        self.methods.answers |= {**everything(), "SubmitJob": submit}
        calls = {name: about[:2] for name, about in {**JOBS, **GIVEN}.items()}
        command = [PYTHON, "-c", PROGRAM, str(self.number), str(self.path / "ca.pem"), json.dumps(calls)]

        def run() -> Any:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=80, cwd="/")
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        names, found = await deferToThread(run)
        assert names == sorted(calls)
        for name in JOBS:
            assert found[name] == 17, f"{name}: {found[name]}"
        # Asking for the guest OS definitions is a job too.
        assert [ops for ops in submitted if ops != ["OS_DIAGNOSE"]] == [ops for _, _, ops in JOBS.values()]
        for name, (_, _, wanted) in GIVEN.items():
            assert _is_like(found[name], wanted), f"{name}: {found[name]}"


def _is_like(value: Any, wanted: Any) -> bool:
    """Compare: an object has at least what is wanted, a number is the length of a list."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(_is_like(value.get(key), item) for key, item in wanted.items())
    if isinstance(wanted, int) and isinstance(value, list):
        return len(value) == wanted
    return bool(value == wanted)
