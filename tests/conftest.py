"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.side_by_side import ByModule, begin_with_the_longest, name_groups, workers

if TYPE_CHECKING:
    from xdist.remote import Producer

# A machine that is busy with other things makes examples slowly; that is no fault of the code under test.
settings.register_profile("gnt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gnt")

# What contracts and grounds assert is told in full, as it is of tests. Here: a conftest below imports some.
pytest.register_assert_rewrite("tests.masterd", "tests.noded", "tests.real_disks", "tests.sim", "tests.live")


def pytest_configure() -> None:
    """Let children hear Ctrl-C: who is started in the background by a shell ignores it, and so would they."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Say how many workers `-n auto` means."""
    return workers()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Any:
    """Have modules and groups of tests stay together."""
    return ByModule(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Begin with what takes longest, where there are workers, and keep groups together."""
    yield
    if hasattr(config, "workerinput"):
        begin_with_the_longest(items)
        name_groups(items)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was simulated, however it went: tests note it under this name."""
    told = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "simulated" and report.when == "call"
    ]
    if told:
        terminalreporter.section("simulated")
    for line in sorted(told):
        terminalreporter.write_line(line)
