"""Domain XML compared with files, and with libvirt's own schema."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gnt.model.objects import DiskTemplate, HypervisorName, NicMode
from gnt.model.params import defaults
from gnt.model.params_tables import BACKEND, HYPERVISOR
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.wire.calls import DiskDevice

DIRECTORY = Path(__file__).parent / "golden"
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
ID = "9c7a{:04d}-f1a5-4d0f-8b4e-0d5e6a7b8c9f"


def compare(name: str, xml: str) -> None:
    """Compare with the golden file of that name; GNT_GOLDEN=write writes it instead."""
    path = DIRECTORY / f"{name}.xml"
    if os.environ.get("GNT_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(xml)
    assert xml == path.read_text()


def validate(xml: str) -> None:
    """Check against libvirt's schema; skips, saying why, where there is none."""
    if not SCHEMA.exists():
        pytest.skip(f"libvirt's schema is not installed: no {SCHEMA}")
    if shutil.which("xmllint") is None:
        pytest.skip("xmllint is not installed")
    command = ["xmllint", "--noout", "--relaxng", str(SCHEMA), "-"]
    checked = subprocess.run(command, input=xml, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def instance(
    hypervisor: str,
    *,
    disks: int = 1,
    template: DiskTemplate = DiskTemplate.PLAIN,
    nics: tuple[NicSpec, ...] = (),
    be: dict[str, Any] | None = None,
    **hvparams: Any,
) -> InstanceSpec:
    """Describe an instance."""
    return InstanceSpec(
        name="web1.example.com",
        uuid=ID.format(1),
        hypervisor=HypervisorName(hypervisor),
        hvparams={**defaults(HYPERVISOR[hypervisor]), **hvparams},
        beparams={**defaults(BACKEND), **(be or {})},
        disks=tuple(
            DiskSpec(index=index, uuid=ID.format(10 + index), dev_type=template, size=1024) for index in range(disks)
        ),
        nics=nics,
        tags=("production", "web"),
        network_port=11007,
    )


def devices(of: InstanceSpec, *, uri: str | None = None) -> list[DiskDevice]:
    """Give a device for each disk."""
    return [
        DiskDevice(path=f"/dev/vg/d{disk.index}", link=f"/run/disks/{of.name}:{disk.index}", uri=uri)
        for disk in of.disks
    ]


def nic(index: int = 0, mode: str = "bridged", link: str = "br0", vlan: str = "", ip: str | None = None) -> NicSpec:
    """Describe an interface."""
    return NicSpec(
        index=index,
        uuid=ID.format(20 + index),
        mac=f"aa:00:00:00:00:0{index}",
        mode=NicMode(mode),
        link=link,
        vlan=vlan,
        ip=ip,
    )
