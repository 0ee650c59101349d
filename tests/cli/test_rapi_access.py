"""gnt-cluster rapi-token and rapi-password."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from gnt.rapi.users import parse_users
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster

TOKEN = {"id": "ab12", "name": "ci", "scope": "write", "created": 0.0, "expires": 86400.0}


def test_a_token_is_made(gnt: Run, master: FakeMaster) -> None:
    """The token alone is on standard output, so that a program can take it; what it is for is beside it."""
    master.answers["AddApiToken"] = lambda *_: {**TOKEN, "token": "gnt_ab12_secret"}
    ran = gnt("cluster", "rapi-token", "--scope", "write", "--expires=1d", "add", "ci")
    assert ran.out == "gnt_ab12_secret\n"
    assert "scope write, ends 1970-01-02 00:00" in ran.err
    assert master.requests[-1] == ("AddApiToken", ["ci", "write", 86400])
    gnt("cluster", "rapi-token", "--expires=never", "add", "ci")
    assert master.requests[-1] == ("AddApiToken", ["ci", "read", None])
    ran = gnt("cluster", "rapi-token", "--json", "add", "ci")
    assert json.loads(ran.out)["token"] == "gnt_ab12_secret"
    assert master.requests[-1] == ("AddApiToken", ["ci", "read", 90 * 86400])


def test_tokens_are_listed_and_revoked(gnt: Run, master: FakeMaster) -> None:
    """Without secrets; by name."""
    listed = [{**TOKEN, "expired": True}, {**TOKEN, "name": "x", "expires": None, "expired": False}]
    master.answers |= {"ApiTokens": lambda: listed, "RevokeApiToken": lambda _: TOKEN}
    assert gnt("cluster", "rapi-token", "list").out == (
        "ci  ab12  write  ends 1970-01-02 00:00 (expired)\nx  ab12  write  ends never\n"
    )
    assert json.loads(gnt("cluster", "rapi-token", "--json", "list").out) == listed
    assert gnt("cluster", "rapi-token", "revoke", "ci").out == "The token ci is worthless from now on.\n"
    assert master.requests[-1] == ("RevokeApiToken", ["ci"])


@pytest.mark.parametrize(
    "words",
    [["add"], ["list", "x"], ["revoke"], ["bless", "x"], ["--scope=all", "add", "x"], ["--expires=soon", "add", "x"]],
)
def test_words_that_mean_nothing(gnt: Run, master: FakeMaster, words: list[str]) -> None:
    """The remedy is said, and the master is not asked."""
    assert gnt("cluster", "rapi-token", *words).status in {1, 2}
    assert master.requests == []


def test_a_password_is_hashed(gnt: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line is one that the users file has; the password itself is nowhere."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("top secret\n"))
    ran = gnt("cluster", "rapi-password", "--options", "read,write", "ops")
    assert ran.status == 0
    assert "top secret" not in ran.out + ran.err
    users, problems = parse_users(ran.out.encode())
    assert not problems
    assert users[b"ops"].may_write
    assert users[b"ops"].password.matches(b"top secret")  # type: ignore[union-attr, call-arg]


@pytest.mark.parametrize(("typed", "words"), [("\n", ["ops"]), ("x\n", ["a:b"]), ("x\n", ["--options=root", "a"])])
def test_what_is_no_password_or_user(gnt: Run, monkeypatch: pytest.MonkeyPatch, typed: str, words: list[str]) -> None:
    """Refused, with nothing printed."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    ran = gnt("cluster", "rapi-password", *words)
    assert (ran.status in {1, 2}, ran.out) == (True, "")
