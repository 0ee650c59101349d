"""Errors as people and programs see them, and the exit status that goes with each: `spec/cli.md`, section 1.4."""

from __future__ import annotations

import json
from typing import Any, Final

from gnt.cli.parsing import BadUsage
from gnt.model.errors import PREREQ_CODES, ConfigError, GntError

OK: Final = 0
FAILURE: Final = 1
BAD_CONFIGURATION: Final = 2
DECLINED: Final = 13
UNKNOWN_FIELD: Final = 14
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class Declined(GntError):
    """A question was answered with no, or there was nobody to answer it."""

    def __init__(self, what: str, *, hint: str = "", status: int = FAILURE) -> None:
        super().__init__("declined", f"{what}: not confirmed, nothing was done", hint=hint)
        self.status = status


class JobFailed(GntError):
    """A job ended in an error; `cause` is the error of the opcode that failed."""

    def __init__(self, job: int, cause: GntError, *, index: int = 0) -> None:
        prefix = f"partial failure (opcode {index}): " if index else ""
        super().__init__(cause.code, prefix + cause.text, hint=cause.hint)
        self.job = job
        self.cause = cause


def exit_status(error: GntError) -> int:
    """Give the exit status of an error."""
    cause = error.cause if isinstance(error, JobFailed) else error
    if isinstance(cause, BadUsage | Declined):
        return cause.status
    if isinstance(cause, ConfigError):
        return BAD_CONFIGURATION
    return FAILURE


def text_of(error: GntError) -> str:
    """Give the lines for people: what is wrong, with its code, then the remedy."""
    return "\n".join([_first_line(error), *(f"  {line}" for line in error.hint.splitlines())])


# How the line begins for errors that are not a refusal or a failure of what was asked.
_PREFIXES: Final = {
    "hooks_failure": "Failure: hooks general failure: ",
    "hooks_abort": "Failure: ",
    "tag_error": "Failure: invalid tag(s) given: ",
    "type_enforcement_error": "Parameter Error: ",
    "parameter_error": "Failure: unknown/wrong parameter name: ",
    "query_filter_parse_error": "Error while parsing query filter: ",
    "job_lost": "Error checking job status: ",
}


def _first_line(error: GntError) -> str:
    cause = error.cause if isinstance(error, JobFailed) else error
    if isinstance(cause, BadUsage):
        return f"Error: {error.text}"
    if isinstance(cause, ConfigError):
        return f"Corrupt configuration file: {error.text}\nAborting."
    if error.code in _PREFIXES:
        return f"{_PREFIXES[error.code]}{error.text}"
    # What a refusal is about stands at its end, where a program finds it and a person need not read it.
    code = f"  [{error.code}]" if error.code in PREREQ_CODES else ""
    return f"Failure: {error.text}{code}"


def as_json(error: GntError) -> dict[str, Any]:
    """Give the error for programs."""
    found: dict[str, Any] = {"code": error.code, "text": error.text, "hint": error.hint}
    if isinstance(error, JobFailed):
        found["job"] = error.job
    return found


def json_line(error: GntError) -> str:
    """Give the line that goes to standard error with --json."""
    return json.dumps({"error": as_json(error)}, ensure_ascii=False)
