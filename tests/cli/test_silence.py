"""A change that the master does not answer for a moment: why, before anybody has to wonder."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from gnt.model.errors import GntError
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster

WHY = {"text": "This waits for a majority; these do not answer: node2 (off)", "hint": "type this"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the silence be a short one."""
    monkeypatch.setattr("gnt.cli.silence.SILENCE", 0.05)


def held(master: FakeMaster, answer: Any) -> threading.Event:
    """Have a job be taken only when it was asked what keeps it up."""
    asked = threading.Event()

    def hindrance() -> Any:
        asked.set()
        if isinstance(answer, GntError):
            raise answer
        return answer

    def drain(_flag: bool) -> bool:
        assert asked.wait(20)
        return True

    master.answers["Hindrance"] = hindrance
    master.answers["SetDrainFlag"] = drain
    return asked


def test_a_silent_change_says_why(master: FakeMaster, gnt: Run) -> None:
    """On standard error, with what can be typed; the command goes on."""
    asked = held(master, WHY)
    ran = gnt("cluster", "queue", "drain")
    assert asked.is_set()
    assert ran.status == 0
    assert ran.err == f"{WHY['text']}\n  {WHY['hint']}\n"


@pytest.mark.parametrize("answer", [None, GntError("no_such_method", "older than this")])
def test_where_nothing_is_known_nothing_is_said(master: FakeMaster, gnt: Run, answer: Any) -> None:
    """A master that is only slow, or of another release."""
    asked = held(master, answer)
    ran = gnt("cluster", "queue", "drain")
    assert asked.is_set()
    assert (ran.status, ran.err) == (0, "")


def test_an_answer_that_comes_is_not_asked_about(master: FakeMaster, gnt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a reading one, however long it takes."""
    monkeypatch.setattr("gnt.cli.silence.SILENCE", 20.0)
    master.answers["SetDrainFlag"] = lambda _flag: True
    assert gnt("cluster", "queue", "drain").status == 0
    assert master.called("Hindrance") == []
    monkeypatch.setattr("gnt.cli.silence.SILENCE", 0.001)
    master.answers["QueryConfigValues"] = lambda _names: time.sleep(0.1) or [False]
    assert gnt("cluster", "queue", "info").status == 0
    assert master.called("Hindrance") == []
