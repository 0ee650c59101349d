"""The list and list-fields commands of all programs, and others that only list.

They stand apart from the programs so that a list is there before a person notices: what other commands of a program
need is not loaded for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option
from gnt.cli.filters import any_value
from gnt.cli.lists import fields_command, list_objects
from gnt.cli.options import FILTER, NO_HEADERS, OUTPUT, PRIORITY, ROMAN, SEPARATOR, SYNC, TABLE, UNITS
from gnt.cli.tables import FINAL
from gnt.cli.values import comma_list, job_number, parser_at_least

FILTER_FIELDS: Final = ("uuid", "watermark", "priority", "predicates", "action", "reason_trail")
NOT_BEGUN: Final = ("queued", "waiting", "canceling")


def _list_jobs(call: Call) -> int:
    statuses = call.option("status_filter")
    return list_objects(
        call,
        "job",
        ("id", "status", "summary"),
        name_field="id",
        convert=job_number,
        also=any_value("status", statuses) if statuses else None,
        extra=("archived",) if call.option("archived") else (),
    )


_JOB_STATUSES: Final = (
    option("--pending", help="only jobs that have not begun", dest="status_filter", const=NOT_BEGUN),
    option("--queued", help="only jobs in the queue", dest="status_filter", const=("queued",)),
    option("--waiting", help="only jobs that wait for locks", dest="status_filter", const=("waiting",)),
    option("--running", help="only jobs that run", dest="status_filter", const=("running",)),
    option("--error", help="only jobs that failed", dest="status_filter", const=("error",)),
    option("--finished", help="only jobs that have ended", dest="status_filter", const=tuple(sorted(FINAL))),
)

_NODE_FIELDS: Final = ("name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt")

_NODES: Final = Command(
    name="list",
    help="list nodes",
    run=partial(
        list_objects,
        what="node",
        default=("name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt"),
    ),
    options=(*TABLE, UNITS, FILTER, SYNC, ROMAN),
    arguments=(Argument("node", 0, None, kind="node"),),
    environment="GNT_NODE_LIST",
    text="With --json: a list of objects, one for each node, with raw values by field name.",
    examples=(
        "gnt-node list -o name,role,mfree",
        "gnt-node list --watch --units=g 'mfree < 4096'",
    ),
)

_INSTANCES: Final = Command(
    name="list",
    help="list instances",
    run=partial(list_objects, what="instance", default=("name", "hypervisor", "os", "pnode", "status", "oper_ram")),
    options=(*TABLE, UNITS, FILTER, SYNC, ROMAN),
    arguments=(Argument("instance", 0, None, kind="instance"),),
    environment="GNT_INSTANCE_LIST",
    examples=("gnt-instance list -o +disk.sizes", "gnt-instance list 'pnode == \"node1\" and be/vcpus > 2'"),
    text="With --json: a list of objects, one for each instance, with raw values by field name.",
)

_JOBS: Final = Command(
    name="list",
    help="list jobs, the oldest first",
    run=_list_jobs,
    options=(*TABLE, FILTER, *_JOB_STATUSES, option("--archived", help="also jobs that are archived")),
    arguments=(Argument("job", 0, None, kind="job"),),
    examples=("gnt-job list --running", "gnt-job list -o id,summary,received_ts 'status = \"error\"'"),
    text="With --json: a list of objects, one for each job, with raw values by field name.",
)

_FILTERS: Final = Command(
    name="list",
    help="list the rules",
    run=partial(list_objects, what="filter", default=FILTER_FIELDS, name_field="uuid"),
    options=TABLE,
    arguments=(Argument("uuid", 0, None, kind="filter"),),
    text="With --json: a list of objects, one for each rule, with raw values by field name.",
    examples=("gnt-filter list -o uuid,action,predicates",),
)

_GROUPS: Final = Command(
    name="list",
    help="list node groups",
    run=partial(list_objects, what="group", default=("name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams")),
    options=(*TABLE, FILTER),
    arguments=(Argument("group", 0, None, kind="group"),),
    environment="GNT_GROUP_LIST",
    examples=("gnt-group list -o +node_list",),
    text="With --json: a list of objects, one for each group, with raw values by field name.",
)

_NETWORK_FIELDS: Final = ("name", "network", "gateway", "mac_prefix", "group_list", "tags")

_NETWORKS: Final = Command(
    name="list",
    help="list networks",
    run=partial(list_objects, what="network", default=_NETWORK_FIELDS),
    options=TABLE,
    arguments=(Argument("network", 0, None, kind="network"),),
    examples=("gnt-network list -o name,network,free_count",),
    text="With --json: a list of objects, one for each network, with raw values by field name.",
)


def _list_exports(call: Call) -> int:
    nodes = call.option("nodes")
    return list_objects(call, "export", ("node", "export"), also=any_value("node", nodes) if nodes else None)


_EXPORTS: Final = Command(
    name="list",
    help="list the exports of instances on all nodes",
    run=_list_exports,
    options=(
        option("-n", "--node", metavar="NODE,...", parse=comma_list, dest="nodes", help="only those on these nodes"),
        *TABLE,
        UNITS,
    ),
    text="""
        A node that does not answer has a line without an export. With --json: a list of
        objects, one for each export, with raw values by field name.
    """,
    examples=(
        "gnt-backup list",
        "gnt-backup list -n node2",
    ),
)


_LOCK_FIELDS: Final = ("name", "mode", "owner", "pending")


def _list_locks(call: Call) -> int:
    interval = call.option("interval")
    while True:
        status = list_objects(call, "lock", _LOCK_FIELDS, named=f"there are: {', '.join(_LOCK_FIELDS)}")
        if interval is None:
            return status
        sys.stdout.write("\n")
        sys.stdout.flush()
        time.sleep(interval)


_LOCKS: Final = Command(
    name="locks",
    help="list the locks that are held or waited for: by whom, and how",
    run=_list_locks,
    options=(
        *TABLE,
        option("--interval", metavar="SECONDS", parse=parser_at_least(1), help="list again and again, so long apart"),
    ),
    text="With --json: a list of objects, one for each lock, with raw values by field name.",
    examples=("gnt-debug locks --interval 2",),
)


def _list_os(call: Call) -> int:
    from gnt.cli.asking_nodes import list_os  # noqa: PLC0415  (only lists that are jobs pay for what those need)

    return list_os(call)


def _list_volumes(call: Call) -> int:
    from gnt.cli.asking_nodes import list_volumes  # noqa: PLC0415

    return list_volumes(call)


def _list_storage(call: Call) -> int:
    from gnt.cli.asking_nodes import list_storage  # noqa: PLC0415

    return list_storage(call)


_OS_DEFINITIONS: Final = Command(
    name="list",
    help="list the guest OS definitions that all nodes can install",
    run=_list_os,
    options=(NO_HEADERS, PRIORITY),
    text='With --json: a list of {"name"}.',
    examples=("gnt-os list",),
)

_STORAGE_OPTIONS: Final = (NO_HEADERS, SEPARATOR, OUTPUT, UNITS, PRIORITY)

_VOLUMES: Final = Command(
    name="volumes",
    help="list the logical volumes of nodes, and whose they are",
    run=_list_volumes,
    options=_STORAGE_OPTIONS,
    arguments=(Argument("node", 0, None, kind="node"),),
    text="With --json: a list of objects, one for each volume on a device; sizes in MiB.",
    examples=("gnt-node volumes node1",),
)

_STORAGE: Final = Command(
    name="list-storage",
    help="list the storage units of nodes",
    run=_list_storage,
    options=(
        *_STORAGE_OPTIONS,
        from_opcode("OP_NODE_QUERY_STORAGE", "storage_type", "-t", "--storage-type", metavar="TYPE"),
    ),
    arguments=(Argument("node", 0, None, kind="node"),),
    text="TYPE is lvm-vg, lvm-pv, file or sharedfile. With --json: a list of objects; sizes in MiB.",
    examples=("gnt-node list-storage -t lvm-vg -o node,name,free",),
)

LISTS: Final[Mapping[str, tuple[Command, ...]]] = {
    "gnt-backup": (_EXPORTS, fields_command("gnt-backup", "export")),
    "gnt-debug": (_LOCKS,),
    "gnt-filter": (_FILTERS, fields_command("gnt-filter", "filter")),
    "gnt-group": (_GROUPS, fields_command("gnt-group", "group")),
    "gnt-instance": (_INSTANCES, fields_command("gnt-instance", "instance")),
    "gnt-job": (_JOBS, fields_command("gnt-job", "job")),
    "gnt-network": (_NETWORKS, fields_command("gnt-network", "network")),
    "gnt-node": (_NODES, fields_command("gnt-node", "node"), _VOLUMES, _STORAGE),
    "gnt-os": (_OS_DEFINITIONS,),
}
"""By the name of the program."""


def list_command(program: str, name: str) -> Command | None:
    """Find one of these commands by the program's name and its own."""
    return next((command for command in LISTS.get(program, ()) if command.name == name), None)
