"""One cluster of machines with real disks for all these tests: each test leaves their volume groups empty."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.real_disks.cluster import RealCluster, real_cluster
from tests.real_disks.room import why_not

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every long test go to the worker that is free first: each worker has a cluster of its own."""
    for number, item in enumerate(items):
        if item.path.parent == HERE and item.get_closest_marker("long_disks"):
            item.add_marker(pytest.mark.xdist_group(f"real-disks-{number}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the daemons and the kernels have said: all of it is gone when the cluster ends."""
    report = yield
    real = getattr(item, "funcargs", {}).get("real")
    if report.failed and isinstance(real, RealCluster):
        report.sections += real.last_words()
    return report


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
