"""What Linux says of a node's memory, processors and interfaces."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from pathlib import Path

from gnt.wire.calls import HypervisorFacts

SIOCGIFADDR = 0x8915
_PROC = Path("/proc")


def node_facts(version: list[int], proc: Path = _PROC) -> HypervisorFacts:
    """Give memory (MiB) and processors: spec/hypervisors.md, section 9. dom0 is what all but free memory is."""
    memory = {
        line.split(":")[0]: int(line.split()[1]) // 1024
        for line in (proc / "meminfo").read_text().splitlines()
        if line.endswith("kB")
    }
    total = memory["MemTotal"]
    free = memory.get("MemAvailable", memory["MemFree"] + memory.get("Buffers", 0) + memory.get("Cached", 0))
    cpus = len(re.findall(r"^processor\b", (proc / "cpuinfo").read_text(), re.MULTILINE)) or os.cpu_count() or 1
    return HypervisorFacts(
        memory_total=total,
        memory_free=free,
        memory_dom0=total - free,
        cpu_total=cpus,
        cpu_dom0=cpus,
        version=version,
    )


def interfaces() -> frozenset[str]:
    """Give the names of the network interfaces, bridges among them, in this process's network namespace."""
    return frozenset(name for _, name in socket.if_nameindex())


def interface_address(interface: str, version: int, proc: Path = _PROC) -> str | None:
    """Give the first address of an interface in IP version 4 or 6, None if it has none."""
    if version == 6:
        for line in (proc / "net/if_inet6").read_text().splitlines():
            fields = line.split()
            if fields[-1] == interface:
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0]))
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            answer = fcntl.ioctl(handle, SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def huge_page_kib(mount_point: str, proc: Path = _PROC) -> int | None:
    """Give the page size (KiB) of the hugetlbfs that is mounted there, None if none is."""
    for line in (proc / "mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if where == mount_point and kind == "hugetlbfs":
            size = re.search(r"pagesize=(\d+)([KMG])", options)
            return int(size[1]) * {"K": 1, "M": 1024, "G": 1024 * 1024}[size[2]] if size else 2048
    return None
