"""Lists that are watched."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import pytest

from gnt.cli import watching
from gnt.cli.failures import text_of
from gnt.cli.watching import CLEAR_SCREEN, watch
from gnt.model.errors import GntError
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster

Pause = Callable[[float], None]


def looks(*states: str | GntError) -> tuple[Callable[[], int], Pause]:
    """Make a look that writes one state after the other, and a pause that interrupts after the last."""
    left = list(states)

    def look() -> int:
        state = left.pop(0)
        if isinstance(state, GntError):
            raise state
        sys.stdout.write(f"{state}\n")
        return 0

    def pause(_seconds: float) -> None:
        if not left:
            raise KeyboardInterrupt

    return look, pause


def test_only_what_is_new_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The same list again is no news; an interrupt is the usual end."""
    look, pause = looks("a", "a", "b", "b")
    assert watch(look, as_json=False, pause=pause) == 0
    assert capsys.readouterr().out == "a\n\nb\n"


def test_a_master_that_is_away_for_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    """The failure stands where the list stood, and watching goes on; as the first thing it ends the command."""
    gone = GntError("no_master", "the master is away")
    look, pause = looks("a", gone, "a")
    assert watch(look, as_json=False, pause=pause) == 0
    assert capsys.readouterr().out == f"a\n\n{text_of(gone)}\n\na\n"
    look, pause = looks(gone)
    with pytest.raises(GntError):
        watch(look, as_json=False, pause=pause)


def test_states_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each state is one line, failures too."""
    look, pause = looks('[\n  {"name": "web1"}\n]', GntError("no_master", "away"), "[]")
    watch(look, as_json=True, pause=pause)
    first, failure, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first, last) == ([{"name": "web1"}], [])
    assert failure["error"]["code"] == "no_master"


def test_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen is cleared, and what does not fit is counted instead of scrolled."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(watching.shutil, "get_terminal_size", lambda: os.terminal_size((80, 5)))
    look, pause = looks("\n".join(map(str, range(10))))
    watch(look, as_json=False, pause=pause)
    assert capsys.readouterr().out == f"{CLEAR_SCREEN}0\n1\n2\n... and 7 more lines"


@pytest.mark.parametrize(("program", "what"), [("instance", "instance"), ("node", "node"), ("job", "job")])
def test_lists_can_be_watched(
    gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch, program: str, what: str
) -> None:
    """The option is there, and each look is a question to the master."""
    pauses = iter([None, None, KeyboardInterrupt])

    def pause(_seconds: float) -> None:
        if (end := next(pauses)) is not None:
            raise end

    monkeypatch.setattr(watching.time, "sleep", pause)
    assert gnt(program, "list", "--watch", "--no-headers").status == 0
    assert [args[0] for args in master.called("Query")] == [what] * 3
