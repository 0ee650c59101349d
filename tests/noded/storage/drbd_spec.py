"""Descriptions of mirrors for tests, as the master makes them."""

from __future__ import annotations

from typing import Any

from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec

OWN = "node-a"
PEER = "node-b"
SECRET = "not-a-secret-of-anybody"
PARAMS: dict[str, Any] = {
    "resync-rate": 61440,
    "disabled-barriers": "n",
    "disable-meta-flush": False,
    "default-metavg": "xenvg",
    "disk-custom": "",
    "net-custom": "",
    "protocol": "C",
    "dynamic-resync": False,
    "c-plan-ahead": 20,
    "c-fill-target": 0,
    "c-delay-target": 1,
    "c-max-rate": 61440,
    "c-min-rate": 4096,
}


def volume(part: str, size: int) -> DiskSpec:
    """Describe a volume below a mirror."""
    return DiskSpec(
        index=0,
        uuid=f"uuid-{part}",
        dev_type=DiskTemplate.PLAIN,
        size=size,
        logical_id=("xenvg", part),
        params={"stripes": 1},
        instance_name="web1",
        instance_uuid="i1",
    )


def mirror_spec(*, size: int = 64, params: dict[str, Any] | None = None, **changes: Any) -> DiskSpec:
    """Describe a mirror: minor 0 here, minor 4 on the other node, port 11000."""
    described: dict[str, Any] = {
        "index": 0,
        "uuid": "uuid-mirror",
        "dev_type": DiskTemplate.DRBD,
        "size": size,
        "logical_id": (OWN, PEER, 11000, 0, 4, SECRET),
        "params": {**PARAMS, **(params or {})},
        "children": (volume("data", size), volume("meta", 128)),
        "instance_name": "web1",
        "instance_uuid": "i1",
        "addresses": {OWN: "10.98.0.2", PEER: "10.98.0.3"},
    }
    return DiskSpec(**{**described, **changes})
