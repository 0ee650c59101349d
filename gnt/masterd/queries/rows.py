"""Rows out of objects: each column in one go, then side by side."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gnt.masterd.queries.fields import Cell, Field
from gnt.masterd.queries.view import View

Row = tuple[Cell, ...]


@contextmanager
def no_collector() -> Iterator[None]:
    """Keep the collector of cycles away: it would walk through the whole configuration for each thousand cells.

    Rows have no cycles. Nothing is waited for meanwhile; another thread may run without it for that moment.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def make_rows(view: View, fields: Sequence[Field], objects: Sequence[Any]) -> list[Row]:
    """Give a row of cells for each object."""
    if not fields:
        return [()] * len(objects)
    with no_collector():
        return list(zip(*(_column(view, field, objects) for field in fields), strict=True))


def _column(view: View, field: Field, objects: Sequence[Any]) -> Iterable[Cell]:
    if field.asks:
        return map(field.bind(view), objects)
    return view.tables.column(view.cluster, objects, field.name, lambda: list(map(field.bind(view), objects)))
