"""One cluster of machines with real disks for all these tests: each test leaves their volume groups empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_disks.cluster import RealCluster, real_cluster
from tests.real_disks.room import why_not


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    """Give a cluster: with three machines where the long tests are among those to be done, else with two."""
    reason = why_not()
    if reason:
        pytest.skip(f"no machines with real disks: {reason}")
    long = any(item.get_closest_marker("long_disks") for item in request.session.items)
    with real_cluster(3 if long else 2) as cluster:
        yield cluster


@pytest.fixture
def real(running: RealCluster) -> Iterator[RealCluster]:
    """Give the cluster; afterwards all machines are on, and nothing is left on their disks."""
    yield running
    running.clean()
