"""Numbers for Prometheus: the cluster as its master sees it, and this API."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gnt import __version__
from gnt.rapi.resources.base import Call, Plain, rows

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MIB: Final = 1024 * 1024
JOB_STATUSES: Final = ("queued", "waiting", "canceling", "running", "canceled", "success", "error")
# Field of a node, name and help of its metric, what makes the unit of one of the other.
_NODE: Final = (
    ("mtotal", "gnt_node_memory_bytes", "memory of the node", MIB),
    ("mfree", "gnt_node_memory_free_bytes", "memory that no guest has", MIB),
    ("mnode", "gnt_node_memory_host_bytes", "memory that the node itself uses", MIB),
    ("dtotal", "gnt_node_disk_bytes", "disk space for guests", MIB),
    ("dfree", "gnt_node_disk_free_bytes", "disk space that no guest has", MIB),
    ("ctotal", "gnt_node_cpus", "processors of the node", 1),
    ("pinst_cnt", "gnt_node_primary_instances", "instances that have it as primary node", 1),
    ("sinst_cnt", "gnt_node_secondary_instances", "instances that have it as a secondary node", 1),
)
_INSTANCE: Final = (
    ("oper_ram", "gnt_instance_memory_bytes", "memory of the running guest", MIB),
    ("oper_vcpus", "gnt_instance_vcpus", "virtual processors of the running guest", 1),
)

Sample = tuple[Mapping[str, Any], float]


async def metrics(call: Call) -> Plain:
    """Give all numbers; what has no value at the moment, as of a node that does not answer, has no line."""
    (cluster,) = await call.master.call("QueryConfigValues", ["cluster_name"])
    drained = (await call.master.call("QueryConfigValues", ["drain_flag"]))[0]
    fields = ["name", "role", "offline", *(field for field, *_ in _NODE)]
    nodes = await rows(call, "node", fields)
    instances = await rows(call, "instance", ["name", "pnode", "status", *(field for field, *_ in _INSTANCE)])
    jobs = Counter(str(status) for (status,) in await call.master.call("QueryJobs", None, ["status"]))
    lines = [
        *_metric("gnt_info", "which cluster this is", [({"cluster": cluster, "version": __version__}, 1)]),
        *_metric("gnt_queue_drained", "whether no jobs are taken", [({}, float(bool(drained)))]),
        *_metric("gnt_jobs", "jobs that are not archived", [({"status": one}, jobs[one]) for one in JOB_STATUSES]),
        *_metric("gnt_node_up", "whether the node answers", _up(nodes)),
    ]
    for field, name, text, unit in _NODE:
        lines += _metric(name, text, _values(nodes, field, unit, {"node": "name"}))
    statuses = Counter(str(one["status"]) for one in instances)
    lines += _metric("gnt_instances", "instances", [({"status": one}, statuses[one]) for one in sorted(statuses)])
    for field, name, text, unit in _INSTANCE:
        lines += _metric(name, text, _values(instances, field, unit, {"instance": "name", "node": "pnode"}))
    return Plain(content_type=CONTENT_TYPE, body="".join([*lines, *_own(call)]).encode())


def _up(nodes: Iterable[Mapping[str, Any]]) -> list[Sample]:
    return [({"node": node["name"], "role": node["role"]}, float(node["mtotal"] is not None)) for node in nodes]


def _values(objects: Iterable[Mapping[str, Any]], field: str, unit: float, labels: Mapping[str, str]) -> list[Sample]:
    return [
        ({label: one[source] for label, source in labels.items()}, one[field] * unit)
        for one in objects
        if isinstance(one[field], int | float) and not isinstance(one[field], bool)
    ]


def _own(call: Call) -> list[str]:
    if call.own is None:
        return []
    own = call.own()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    requests = [({"method": method, "status": status}, count) for (method, status), count in own.requests.items()]
    return [
        *_metric("gnt_rapi_requests_total", "answered requests", requests, "counter"),
        *_metric("gnt_rapi_connections", "connections of clients", [({}, own.connections)]),
        *_metric("gnt_rapi_event_listeners", "clients that follow the event stream", [({}, own.listeners)]),
        *_metric("process_resident_memory_bytes", "memory of this process", [({}, _resident())]),
        *_metric(
            "process_cpu_seconds_total", "time of this process", [({}, usage.ru_utime + usage.ru_stime)], "counter"
        ),
    ]


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * float(resource.getpagesize())


def _metric(name: str, text: str, samples: Sequence[Sample], kind: str = "gauge") -> list[str]:
    """Give the lines of one metric in the text format of Prometheus."""
    lines = [f"# HELP {name} {text}\n# TYPE {name} {kind}\n"]
    for labels, value in samples:
        within = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in labels.items())
        lines.append(f"{name}{{{within}}} {value:.17g}\n" if within else f"{name} {value:.17g}\n")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
