"""Metrics and health: what Prometheus and load balancers ask for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.internet.error import ConnectError

from tests.rapi.room import PLAIN, READER, Room, objects
from tests.rapi.test_tokens import TOKEN, bearer, known

NODES: list[dict[str, Any]] = [
    {"name": "node1", "role": "M", "offline": False, "mtotal": 1024, "mfree": 512, "ctotal": 4, "pinst_cnt": 2},
    {"name": "node2", "role": "O", "offline": True, "pinst_cnt": 0},
]
INSTANCES: list[dict[str, Any]] = [
    {"name": 'odd"\\name', "pnode": "node1", "status": "running", "oper_ram": 256, "oper_vcpus": 2},
    {"name": "down", "pnode": "node1", "status": "ADMIN_down", "oper_ram": None},
]
LINE = re.compile(r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? -?[0-9.e+-]+')


def cluster(room: Room) -> None:
    """Let there be nodes, instances and jobs."""
    values = {"cluster_name": "demo", "drain_flag": True, "master_node": "node1"}
    room.master.answers |= {
        "QueryConfigValues": lambda fields: [values[field] for field in fields],
        "Query": objects(node=NODES, instance=INSTANCES),
        "QueryJobs": [["success"], ["success"], ["running"]],
    }


@pytest.mark.parametrize("path", ["/3/metrics", "/metrics"])
def test_the_numbers(room: Room, path: str) -> None:
    """In the format of Prometheus, sizes in bytes; what a node did not say has no line."""
    cluster(room)
    answer = room.ask("GET", path)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    assert all(line.startswith("# ") or LINE.fullmatch(line) for line in lines)
    assert lines.count("# TYPE gnt_node_up gauge") == 1
    for line in (
        'gnt_node_up{node="node1",role="M"} 1',
        'gnt_node_up{node="node2",role="O"} 0',
        'gnt_node_memory_bytes{node="node1"} 1073741824',
        'gnt_node_primary_instances{node="node2"} 0',
        'gnt_instances{status="running"} 1',
        'gnt_instance_memory_bytes{instance="odd\\"\\\\name",node="node1"} 268435456',
        'gnt_jobs{status="success"} 2',
        'gnt_jobs{status="error"} 0',
        "gnt_queue_drained 1",
        "gnt_rapi_event_listeners 0",
    ):
        assert line in lines
    assert not [line for line in lines if line.startswith('gnt_node_memory_bytes{node="node2"')]


def test_its_own_numbers(room: Room) -> None:
    """Requests by method and status; methods that clients invent are counted together."""
    cluster(room)
    room.ask("GET", "/2/features")
    room.ask("GET", "/nothing")
    room.ask("BREW", "/2/features")
    room.ask("BREW2", "/2/features")
    lines = room.ask("GET", "/metrics").body.decode().splitlines()
    assert 'gnt_rapi_requests_total{method="GET",status="200"} 1' in lines
    assert 'gnt_rapi_requests_total{method="GET",status="404"} 1' in lines
    assert 'gnt_rapi_requests_total{method="other",status="501"} 2' in lines
    assert "gnt_rapi_connections 1" in lines
    (memory,) = [float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes")]
    assert memory > 1e6


def test_who_may_see_metrics(room: Room) -> None:
    """Every user, and tokens for metrics, which see nothing else."""
    cluster(room)
    assert room.ask("GET", "/metrics", user=None).status == 401
    assert room.ask("GET", "/metrics", user=PLAIN).status == 200
    assert room.ask("GET", "/metrics", user=READER).status == 200
    known(room, "metrics")
    assert room.ask("GET", "/metrics", user=None, headers=bearer(TOKEN)).status == 200
    assert room.ask("GET", "/2/nodes", user=None, headers=bearer(TOKEN)).status == 403


@pytest.mark.parametrize("path", ["/3/health", "/health"])
def test_health(room: Room, path: str) -> None:
    """Anybody may ask whether API and master answer; without a master it is 503."""
    cluster(room)
    assert room.ask("GET", path, user=None).json["status"] == "ok"
    for wire in room.master.wires:
        wire.abortConnection()
    room.master.down = ConnectError(111)
    answer = room.ask("GET", path, user=None)
    assert (answer.status, answer.json["code"]) == (503, 503)
