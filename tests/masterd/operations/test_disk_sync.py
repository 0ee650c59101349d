"""Waiting for mirrors: what is told, when it ends, when it is given up."""

from __future__ import annotations

from typing import Any

from gnt.masterd.operations.disk_sync import SyncWatch
from gnt.model.errors import NotReached
from gnt.wire.calls import DiskFacts
from gnt.wire.disk_calls import DiskState


def watch(*, disks: int = 1, once: bool = False, again: bool = False) -> SyncWatch:
    """Give a watch over disks of 1000 MiB."""
    named = [{"name": f"disk/{n}", "size": 1000} for n in range(disks)]
    return SyncWatch({"instance": "web1", "disks": named, "once": once, "again": again})


def state(**facts: Any) -> DiskState:
    """Give what a node says of one disk."""
    return DiskState(facts=DiskFacts(path="/dev/drbd0", size=1000, **facts))


def test_progress_is_told_with_speed_and_estimate() -> None:
    """Percent as the kernel says, speed since the first look, the time that is left; it asks again in time."""
    it = watch()
    first = it.seen([state(sync_percent=10.0, estimated_time=90.0, degraded=True)], 100.0)
    assert list(first.said) == [" - INFO: - device disk/0: 10.00% done, 1m 30s remaining (estimated)"]
    assert first.again == 5.0
    second = it.seen([state(sync_percent=40.5, estimated_time=7.0, degraded=True)], 110.0)
    assert list(second.said) == [" - INFO: - device disk/0: 40.50% done at 30.5 MiB/s, 7s remaining (estimated)"]
    assert second.again == 7.0
    last = it.seen([state()], 120.0)
    assert (list(last.said), last.again, last.problem) == ([" - INFO: Instance web1's disks are in sync"], None, None)


def test_the_good_news_of_a_second_side_are_none() -> None:
    """The first side told them; how far the second one is, is told all the same."""
    it = watch(again=True)
    assert len(it.seen([state(sync_percent=10.0, degraded=True)], 100.0).said) == 1
    last = it.seen([state()], 110.0)
    assert (list(last.said), last.again, last.problem) == ([], None, None)


def test_the_speed_that_a_node_knows_is_told_at_once() -> None:
    """It is the kernel's own, of the last seconds; the watch needs no second look for it."""
    said = watch().seen([state(sync_percent=10.0, estimated_time=90.0, sync_speed=4.0, degraded=True)], 100.0).said
    assert list(said) == [" - INFO: - device disk/0: 10.00% done at 4.0 MiB/s, 1m 30s remaining (estimated)"]


def test_without_an_estimate_it_says_so_and_looks_again_soon() -> None:
    """A sync that has just begun has none."""
    verdict = watch().seen([state(sync_percent=0.0, degraded=True)], 1.0)
    assert list(verdict.said) == [" - INFO: - device disk/0: 0.00% done, no time estimate"]
    assert verdict.again == 5.0


def test_all_disks_are_waited_for() -> None:
    """The slowest says when to ask again; disks that are in step are not named."""
    it = watch(disks=3)
    answer = [state(), state(sync_percent=50.0, estimated_time=20.0), state(sync_percent=1.0, estimated_time=30.0)]
    verdict = it.seen(answer, 1.0)
    assert [line.split()[4] for line in verdict.said] == ["disk/1:", "disk/2:"]
    assert it.seen(answer, 61.0).again == 30.0


def test_an_estimate_of_the_first_moments_is_not_waited_for() -> None:
    """A small disk that begins slowly is in step long before: it waits as long as it has watched, 60 s at most."""
    it = watch()
    slow = [state(sync_percent=22.3, estimated_time=81.0, degraded=True)]
    assert [it.seen(slow, now).again for now in (0.0, 5.0, 10.0, 20.0, 40.0, 80.0)] == [
        5.0,
        5.0,
        10.0,
        20.0,
        40.0,
        60.0,
    ]


def test_once_is_content_with_a_sync_under_way() -> None:
    """Who does not want to wait still learns whether the mirror is on its way."""
    verdict = watch(once=True).seen([state(sync_percent=1.0, degraded=True)], 1.0)
    assert (len(verdict.said), verdict.again, verdict.problem) == (1, None, None)


def test_a_mirror_that_nobody_syncs_is_given_up_after_ten_more_looks() -> None:
    """A moment without connection is none; after that it is an error that names the disk."""
    it = watch(disks=2)
    for _ in range(10):
        verdict = it.seen([state(), state(degraded=True)], 1.0)
        assert (verdict.again, verdict.problem) == (1.0, None)
    verdict = it.seen([state(), state(degraded=True)], 1.0)
    assert verdict.problem is not None
    assert "disk/1 of web1 is degraded" in verdict.problem.text


def test_a_node_without_answer_is_asked_ten_times() -> None:
    """Six seconds apart; an answer in between begins the count anew; a disk that is gone counts like no answer."""
    it = watch()
    for _ in range(9):
        assert it.missed(NotReached("gone")).again == 6.0
    assert it.seen([state(sync_percent=1.0)], 1.0).again == 5.0
    for _ in range(9):
        assert it.seen([DiskState(problem="no such minor")], 1.0).again == 6.0
    verdict = it.seen([DiskState()], 1.0)
    assert verdict.problem is not None
    assert "web1 cannot be watched: disk/0: it is not there" in verdict.problem.text
