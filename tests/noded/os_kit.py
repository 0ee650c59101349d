"""Guest OS definitions and instances to try them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gnt.model.objects import DiskTemplate, HypervisorName, NicMode
from gnt.model.specs import DiskSpec, InstanceSpec, NetworkSpec, NicSpec


def make_definition(place: Path, name: str, *versions: int, **scripts: str | None) -> Path:
    """Write a definition whose scripts end well; `scripts` replaces some of them, None leaves one out.

    `variants_list` and `parameters_list` are files too.
    """
    directory = place / name
    directory.mkdir(parents=True)
    (directory / "ganeti_api_version").write_text("".join(f"{version}\n" for version in versions))
    texts: dict[str, str | None] = dict.fromkeys(("create", "import", "export", "rename"), "exit 0\n")
    if max(versions, default=0) >= 20:
        texts |= {"verify": "exit 0\n", "parameters.list": "filesystem what is made\nswap-size MiB of swap\n"}
    texts |= {key.replace("_list", ".list"): text for key, text in scripts.items()}
    for key, text in texts.items():
        if text is None:
            continue
        if key.endswith(".list"):
            (directory / key).write_text(text)
        else:
            (directory / key).write_text(f"#!/bin/bash\n{text}")
            (directory / key).chmod(0o755)
    return directory


def disk_in(directory: Path, index: int = 0) -> DiskSpec:
    """Describe a file disk of 1 MiB."""
    return DiskSpec(
        index=index,
        uuid=f"disk-uuid-{index}",
        dev_type=DiskTemplate.FILE,
        size=1,
        logical_id=("loop", str(directory / "web1.example.com" / f"u.file.disk{index}")),
        name="root" if index == 0 else None,
        mode="rw" if index == 0 else "ro",
        instance_name="web1.example.com",
        instance_uuid="inst-uuid",
    )


def web1(directory: Path, **changes: Any) -> InstanceSpec:
    """Describe an instance with two disks, two interfaces, and parameters at every level."""
    network = NetworkSpec(
        name="net1", uuid="net-uuid", network="10.0.0.0/24", tags=("a", "b"), gateway="10.0.0.1", mac_prefix="aa:01:00"
    )
    instance = InstanceSpec(
        name="web1.example.com",
        uuid="inst-uuid",
        hypervisor=HypervisorName.KVM,
        os="try+small",
        hvparams={"disk_type": "paravirtual", "nic_type": "e1000", "serial_console": True, "kernel_path": ""},
        beparams={"maxmem": 128, "always_failover": False},
        osparams={"filesystem": "ext4", "swap-size": "12"},
        osparams_private={"root-password": "s3cret-word"},
        nics=(
            NicSpec(
                index=0,
                uuid="n0",
                mac="aa:00:00:00:00:01",
                mode=NicMode.BRIDGED,
                link="br0",
                ip="10.0.0.7",
                network=network,
            ),
            NicSpec(index=1, uuid="n1", mac="aa:00:00:00:00:02", mode=NicMode.ROUTED, name="lan"),
        ),
        disks=(disk_in(directory, 0), disk_in(directory, 1)),
        primary_node="node1.example.com",
        secondary_nodes=("node2.example.com", "node3.example.com"),
        ctime=1700000000.5,
        mtime=1700000001.0,
    )
    return msgspec.structs.replace(instance, **changes)
