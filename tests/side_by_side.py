"""How tests run side by side: `make test` without TESTS, by workers that each take module after module.

The tests of a module stay together, because they share what the module has built. Those marked
`pytest.mark.xdist_group("name")` belong to the group instead: all tests of a group run one after the other on one
worker, in whatever module they stand, and a test with a group of its own goes where there is room. What there is once
on a machine is used in the group ``machine`` only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

MOST_WORKERS = 12
# What takes longest begins first, so that nobody works alone in the end; it also waits most, while others compute.
FIRST = ("tests/real_disks", "tests/noded/hypervisors", "tests/end_to_end", "tests/demo", "tests/sim", "tests/clients")

# Folders whose modules share what is built once for all of them.
TOGETHER = ("tests/real_disks", "tests/real_ceph")


def workers() -> int:
    """Say how many there are to be: one more than processors, because many tests wait."""
    return min(len(os.sched_getaffinity(0)) + 1, MOST_WORKERS)


def begin_with_the_longest(items: list[pytest.Item]) -> None:
    """Order what was collected; every worker has to come to the same order."""

    def turn(item: pytest.Item) -> int:
        return next((turn for turn, folder in enumerate(FIRST) if item.nodeid.startswith(f"{folder}/")), len(FIRST))

    items.sort(key=turn)


def name_groups(items: list[pytest.Item]) -> None:
    """Write the group of each test behind its name, which is all that the scheduler sees.

    xdist means to do that itself, but since pytest 9.2 a name is kept in another place than where it writes.
    """
    for item in items:
        groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
        if groups:
            item._id = type(item.id).parse(f"{item.nodeid}@{'_'.join(groups)}")


class ByModule(LoadScopeScheduling):
    """Gives workers whole modules and groups, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        """Give the group that xdist has written behind the name of a test, else the folder or the module."""
        at = nodeid.rfind("@")
        folder = next((folder for folder in TOGETHER if nodeid.startswith(f"{folder}/")), None)
        return nodeid[at + 1 :] if at > nodeid.rfind("]") else folder or nodeid.partition("::")[0]

    def remove_node(self, node: WorkerController) -> str | None:
        """Take a worker out; gives the test that ended it, which nobody is to try again."""
        units: Sequence[dict[str, bool]] = list(self.assigned_work[node].values())
        for unit in units:
            for nodeid, done in unit.items():
                if not done:
                    unit[nodeid] = True
                    super().remove_node(node)
                    return nodeid
        return super().remove_node(node)
