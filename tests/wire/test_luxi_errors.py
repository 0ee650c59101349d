"""Errors to LUXI's class names and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model import errors
from gnt.model.errors import PREREQ_CODES, ConfigError, Failed, GntError, JobLost, QueueDrained, Refused
from gnt.wire.errors import CODE_OF_CLASS, LUXI_CLASSES, detail_of, from_luxi, to_job_error, to_luxi

JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("name", sorted(LUXI_CLASSES))
def test_every_class_comes_back_as_itself(name: str) -> None:
    """A class with one message keeps its name and text on the way through our errors."""
    value = [name, ["it broke"]]
    if name == "OpPrereqError":
        value = [name, ["it broke", "wrong_state"]]
    error = from_luxi(value)
    back = to_luxi(error)
    assert back[0] == name
    if name not in {"JobQueueFull", "JobQueueDrainError"}:
        assert error.text == "it broke"
        assert back == value


def test_codes_are_one_for_each_class() -> None:
    """No two classes share a code, and codes are words."""
    assert len(set(CODE_OF_CLASS.values())) == len(LUXI_CLASSES)
    assert CODE_OF_CLASS["JobQueueFull"] == "job_queue_full"
    assert CODE_OF_CLASS["IPAddressError"] == "ipaddress_error"


@pytest.mark.parametrize("code", sorted(PREREQ_CODES))
def test_the_code_of_a_refusal_is_kept(code: str) -> None:
    """Refusals come back with their own code, without the help of a detail."""
    error = from_luxi(to_luxi(Refused(code, "no")))
    assert isinstance(error, Refused)
    assert (error.code, error.text) == (code, "no")


@pytest.mark.parametrize(
    "error",
    [
        Failed("half done", code="settled", hint="look"),
        errors.Unsupported("not in this version", hint="wait"),
        errors.NodeFailure("no_space", "node2 is full", hint="grow it", retry=True),
        errors.InDoubt("node2 did not answer"),
        errors.NotReached("node2 is offline"),
        errors.StaleEpoch("node2 follows another master"),
        errors.NoMajority("node2 and node3 are missing"),
        errors.NoMajority("node2 and node3 are missing", in_doubt=True),
        ConfigError("of another version"),
        QueueDrained(),
        JobLost("no job 5"),
        errors.BadParameter("memory is no number"),
        GntError("no_master", "nobody there", hint="start it"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_whole_family_crosses_with_its_detail(error: GntError) -> None:
    """Every error reaches LUXI under a known class, and our clients get code, text and hint back."""
    value = to_luxi(error)
    assert value[0] in LUXI_CLASSES
    back = from_luxi(value, detail_of(error))
    assert (back.code, back.text, back.hint) == (error.code, error.text, error.hint)
    assert back.in_doubt is error.in_doubt
    assert str(back) == error.text
    assert back.luxi_class == error.luxi_class


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (["ResolverError", ["web1", -2, "unknown"]], "resolver_error", "web1 does not resolve: unknown"),
        (
            ["ConfigVersionMismatch", [3, 2]],
            "config_version_mismatch",
            "configuration has version 2, expected 3",
        ),
        (["X509CertError", ["a.pem", "bad"]], "x509_cert_error", "a.pem: bad"),
        (["ConfigVerifyError", ["broken", ["a", "b"]]], "config_verify_error", "broken: a; b"),
        (["DeviceCreationError", ["no disk", [1]]], "device_creation_error", "no disk"),
        (["HooksAbort", [[["n1", "x", "out"]]]], "hooks_abort", "hooks refused: x on n1: out"),
        (["HooksAbort", [[5]]], "hooks_abort", "hooks refused: 5"),
        (["JobQueueFull", []], "job_queue_full", "the job queue is full"),
        (["OpPrereqError", ["old style"]], "wrong_input", "old style"),
        (["OpPrereqError", ["odd", "no_such_code"]], "wrong_input", "odd"),
        (["OpPrereqError", []], "wrong_input", "OpPrereqError"),
        (["NobodyKnowsError", ["what", 5]], "request_failed", "NobodyKnowsError: what, 5"),
        ("Caught exception: boom", "request_failed", "Caught exception: boom"),
        (["OpExecError", "bare"], "failed", "bare"),
    ],
)
def test_arguments_become_one_line(value: Any, code: str, text: str) -> None:
    """Classes with several arguments are put in words; what nobody knows keeps its text."""
    error = from_luxi(value)
    assert (error.code, error.text) == (code, text)


@given(JSON | st.tuples(st.sampled_from(sorted(LUXI_CLASSES)), JSON).map(list), JSON)
def test_no_answer_upsets_the_client(value: Any, detail: Any) -> None:
    """Whatever is answered as an error becomes an error of the family."""
    assert isinstance(from_luxi(value, detail), GntError)


def test_foreign_errors_do_not_tell_their_text() -> None:
    """An error that was not written for others is named by its class only."""
    assert "hush" not in str(to_luxi(ValueError("hush")))
    assert detail_of(ValueError("hush")) is None
    name, arguments = to_job_error(ValueError("hush"))
    assert name == "OpExecError"
    assert "ValueError" in arguments[0]
    assert to_job_error(Refused("wrong_state", "no")) == ["OpPrereqError", ["no", "wrong_state"]]
