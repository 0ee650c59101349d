"""All resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gnt.rapi.resources import cluster, filters, group, instance, job, node, third
from gnt.rapi.resources.base import Resource

GANETI: Final = (*cluster.ROWS, *filters.ROWS, *job.ROWS, *node.ROWS, *group.ROWS, *instance.ROWS)
"""Those of the specification."""

ROWS: Final = (*GANETI, *third.ROWS)


def by_path() -> Mapping[str, Mapping[str, Resource]]:
    """Give the rows by path and method."""
    found: dict[str, dict[str, Resource]] = {}
    for row in ROWS:
        methods = found.setdefault(row.path, {})
        if row.method in methods:
            raise AssertionError(f"{row.method} {row.path} stands twice in the table")
        methods[row.method] = row
    return found
