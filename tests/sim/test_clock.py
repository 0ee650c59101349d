"""False time, and blocking work on it."""

from __future__ import annotations

from typing import Any

import pytest

from gnt.sim.clock import BEGINNING, LifeClock, SimClock, Stuck
from gnt.sim.machine import seeded
from gnt.sim.runtime import AFTER, BEFORE, sim_runtime


def clock(seed: int = 1) -> SimClock:
    """Give a clock."""
    return SimClock(seeded(seed, "clock"))


def test_time_jumps_to_the_next_event() -> None:
    """And stands there when it happens; what was cancelled or put off does not happen then."""
    time = clock()
    seen: list[tuple[str, float]] = []
    for name, delay in (("late", 1000.0), ("soon", 1.0), ("never", 2.0), ("put off", 3.0), ("brought forward", 50.0)):
        call = time.callLater(delay, lambda name=name: seen.append((name, time.seconds() - BEGINNING)))
        if name == "never":
            call.cancel()
        if name == "put off":
            call.delay(7.0)
        if name == "brought forward":
            call.reset(0.5)
    while time.step():
        pass
    assert seen == [("brought forward", 0.5), ("soon", 1.0), ("put off", 10.0), ("late", 1000.0)]


def test_events_of_one_moment_come_in_an_order_that_the_seed_decides() -> None:
    """So nothing can depend on an order that nobody promised."""

    def order(seed: int) -> list[int]:
        time, seen = clock(seed), list[int]()
        for number in range(8):
            time.callLater(1.0, seen.append, number)
        time.run_for(1.0)
        return seen

    assert order(1) == order(1)
    assert sorted(order(1)) == list(range(8))
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_who_waits_in_vain_is_told() -> None:
    """When no event is left, and when the time is over."""
    time = clock()
    with pytest.raises(Stuck, match="no event"):
        time.run_until(lambda: False, within=5.0)
    time.callLater(10.0, lambda: None)
    time.callLater(20.0, lambda: None)
    with pytest.raises(Stuck, match="not so within"):
        time.run_until(lambda: False, within=5.0)


def test_what_a_daemon_had_planned_dies_with_it() -> None:
    """Its timers, and the work in its pools; what others planned goes on."""
    time = clock()
    life = LifeClock(time)
    seen: list[str] = []
    runtime = sim_runtime(life, seeded(1, "work"))
    life.callLater(1.0, seen.append, "timer")
    runtime.pools("store").run(seen.append, "work")
    time.callLater(2.0, seen.append, "other")
    life.kill()
    time.run_for(5.0)
    assert seen == ["other"]


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_death_in_the_pool_is_before_the_work_or_after_it(moment: str) -> None:
    """Before: it is not done. After: it is, and nobody hears of it."""
    time = clock()
    life = LifeClock(time)

    def watch(_pool: str, now: str) -> None:
        if now == moment:
            life.kill()

    done: list[str] = []
    heard: list[Any] = []
    sim_runtime(life, seeded(1, "work"), watch).pools("store").run(done.append, "work").addBoth(heard.append)
    time.run_for(1.0)
    assert done == (["work"] if moment == AFTER else [])
    assert heard == []


def test_a_pool_works_in_order_and_carries_errors() -> None:
    """One thing after the other, each at a later moment; an error belongs to the one who asked."""
    time = clock()
    pool = sim_runtime(LifeClock(time), seeded(1, "work")).pools("store")
    seen: list[Any] = []
    for number in range(5):
        pool.run(lambda number=number: seen.append((number, time.seconds())))
    failed: list[Any] = []
    pool.run(lambda: 1 // 0).addErrback(failed.append)
    time.run_for(1.0)
    assert [number for number, _ in seen] == list(range(5))
    assert len({moment for _, moment in seen}) == 5
    assert failed[0].check(ZeroDivisionError)
