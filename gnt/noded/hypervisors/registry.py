"""Which hypervisors this node daemon can drive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.noded.handler import Place
from gnt.noded.hypervisors.fake import FakeHypervisor
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.noded.hypervisors.kvm import KvmHypervisor
from gnt.noded.hypervisors.xen import XenHvm, XenPvm


def _fake(place: Place) -> IHypervisor:
    """Make the fake one; `GNT_FAKE_MEMORY` (MiB) says how much memory the node pretends to have."""
    memory = int(os.environ.get("GNT_FAKE_MEMORY", "16384"))
    return FakeHypervisor(place.layout.run / "fake-hypervisor", memory=memory)


_MAKERS: Final[Mapping[str, Callable[[Place], IHypervisor]]] = {
    "kvm": KvmHypervisor,
    "xen-pvm": XenPvm,
    "xen-hvm": XenHvm,
    "fake": _fake,
}
SUPPORTED: Final = tuple(_MAKERS)


def drivers(place: Place, names: Iterable[str] = SUPPORTED) -> dict[str, IHypervisor]:
    """Make the drivers of these hypervisors; none imports or connects to anything before its first call.

    `NodeFailure` (`unsupported`) for a name that this version does not drive.
    """
    made: dict[str, IHypervisor] = {}
    for name in names:
        maker = _MAKERS.get(name)
        if maker is None:
            raise NodeFailure(
                "unsupported", f"hypervisor {name!r} is not supported", hint=f"supported: {', '.join(_MAKERS)}"
            )
        made[name] = maker(place)
    return made
