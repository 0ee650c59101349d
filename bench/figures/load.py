"""What clients do to a master, and what that cost: through LUXI, as the gnt-* commands speak it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.figures.machine import cpu_seconds
from gnt.opcodes.base import Opcode
from gnt.opcodes.instance import InstanceRemove
from gnt.opcodes.instance_create import InstanceCreate
from gnt.opcodes.instance_power import InstanceShutdown, InstanceStartup
from gnt.opcodes.test import TestDelay
from gnt.wire.luxi_client import LuxiClient
from tests.live import Live

FINAL = ("success", "error", "canceled")
NOTHING = TestDelay(duration=0.0001)
"""The original's no-op job: a tenth of a millisecond on the master, no lock."""

Figures = dict[str, float]


@contextmanager
def client_of(live: Live) -> Iterator[LuxiClient]:
    """Give a connection to the master."""
    with LuxiClient(live.layout("node1").master_socket) as client:
        yield client


def wait(client: LuxiClient, job: int) -> str:
    """Wait for a job's end as a command does, and give its status."""
    previous, serial = None, None
    while True:
        change = client.wait_for_job_change(job, ["status"], previous, serial, 60)
        if change is None:
            continue
        previous = change.info
        serial = max([serial or 0, *(entry[0] for entry in change.entries)])
        if previous[0] in FINAL:
            return str(previous[0])


def wait_all(client: LuxiClient, numbers: Sequence[int]) -> None:
    """Wait until all of these jobs have ended, and see that they ended well."""
    for number in reversed(numbers):
        if wait(client, number) != "success":
            raise AssertionError(f"job {number} failed: {client.query_jobs([number], ['opresult'])}")
        rows = client.query_jobs(numbers, ["status"])
        if all(row is not None and row[0] == "success" for row in rows):
            return


def many_at_once(live: Live, count: int) -> Figures:
    """Submit many no-op jobs at once: jobs a second until all are over, processor milliseconds of masterd for each."""
    pid = live.pid("node1", "gnt-masterd")
    with client_of(live) as client:
        spent, begin = cpu_seconds(pid), time.perf_counter()
        answers = client.submit_many_jobs([[NOTHING]] * count)
        wait_all(client, [int(number) for taken, number in answers if taken])
        elapsed, spent = time.perf_counter() - begin, cpu_seconds(pid) - spent
    return {"jobs_per_second": count / elapsed, "cpu_ms": spent / count * 1000}


def one_by_one(live: Live, count: int) -> Figures:
    """Submit a no-op job and wait for its end, again and again: the median time."""
    times = []
    with client_of(live) as client:
        for _ in range(count):
            begin = time.perf_counter()
            status = wait(client, client.submit_job([NOTHING]))
            times.append(time.perf_counter() - begin)
            if status != "success":
                raise AssertionError(f"a job ended in {status}")
    return {"job_ms": statistics.median(times) * 1000}


def in_sequence(live: Live, count: int) -> Figures:
    """Submit no-op jobs one after the other, as fast as they are acknowledged: the 99th percentile of that time."""
    times, numbers = [], []
    with client_of(live) as client:
        for _ in range(count):
            begin = time.perf_counter()
            numbers.append(client.submit_job([NOTHING]))
            times.append(time.perf_counter() - begin)
        wait_all(client, numbers[-1000:])
    times.sort()
    return {"submit_p50_ms": times[count // 2] * 1000, "submit_p99_ms": times[int(count * 0.99)] * 1000}


def tidy(live: Live) -> None:
    """Archive what is over, so that what comes next begins as this did."""
    with client_of(live) as client:
        while client.auto_archive_jobs(-1, 60)[1]:
            pass


def life_of_an_instance(live: Live, name: str) -> Figures:
    """Add, start, stop and remove a diskless instance: how long each takes until its job has ended."""
    add = InstanceCreate(
        instance_name=name,
        mode="create",
        disk_template="diskless",
        disks=(),
        nics=(),
        os_type="none",
        no_install=True,
        pnode="node1",
        ignore_ipolicy=True,
    )
    deeds: dict[str, Opcode] = {
        "add_ms": add,
        "start_ms": InstanceStartup(instance_name=name),
        "stop_ms": InstanceShutdown(instance_name=name),
        "remove_ms": InstanceRemove(instance_name=name, shutdown_timeout=1),
    }
    found = {}
    with client_of(live) as client:
        for what, op in deeds.items():
            begin = time.perf_counter()
            number = client.submit_job([op])
            status = wait(client, number)
            found[what] = (time.perf_counter() - begin) * 1000
            if status != "success":
                raise AssertionError(f"{what}: {client.query_jobs([number], ['opresult'])}")
    return found


def timed(work: Callable[[], object]) -> float:
    """Give how many seconds something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
