"""One cluster for each module of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import Live, live_cluster


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Give a cluster of three nodes that runs as long as the module's tests."""
    with live_cluster(3) as running:
        yield running
