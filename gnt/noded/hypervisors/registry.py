"""Which hypervisors this node daemon can drive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from gnt.model.errors import NodeFailure
from gnt.noded.handler import Place
from gnt.noded.hypervisors.fake import FakeHypervisor
from gnt.noded.hypervisors.interface import IHypervisor


def _fake(place: Place) -> IHypervisor:
    """Make the fake one; `GNT_FAKE_MEMORY` (MiB) says how much memory the node pretends to have."""
    memory = int(os.environ.get("GNT_FAKE_MEMORY", "16384"))
    return FakeHypervisor(place.layout.run / "fake-hypervisor", memory=memory)


_MAKERS: Mapping[str, Callable[[Place], IHypervisor]] = {"fake": _fake}


def drivers(place: Place, names: Iterable[str] = tuple(_MAKERS)) -> dict[str, IHypervisor]:
    """Make the drivers of these hypervisors; none connects to anything before its first call.

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
