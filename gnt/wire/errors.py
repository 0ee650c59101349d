"""Errors as LUXI carries them: `["ClassName", [argument, …]]`, in both directions (`spec/luxi.md`, section 2).

How errors cross between master and node is in `gnt.wire.envelope`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from gnt.model.errors import (
    PREREQ_CODES,
    WRONG_INPUT,
    BadParameter,
    ConfigError,
    Failed,
    GntError,
    JobLost,
    QueueDrained,
    Refused,
)

# Every class that a LUXI client knows.
LUXI_CLASSES: Final = frozenset(
    (
        "GenericError",
        "LockError",
        "PidFileLockError",
        "HypervisorError",
        "HotplugError",
        "ProgrammerError",
        "BlockDeviceError",
        "ConfigurationError",
        "ConfigVerifyError",
        "ConfigVersionMismatch",
        "AddressPoolError",
        "ReservationError",
        "RemoteError",
        "SignatureError",
        "ParameterError",
        "ResultValidationError",
        "OpPrereqError",
        "OpExecError",
        "OpResultError",
        "OpCodeUnknown",
        "DeviceCreationError",
        "JobLost",
        "JobCanceled",
        "JobFileCorrupted",
        "ResolverError",
        "HooksFailure",
        "HooksAbort",
        "UnitParseError",
        "ParseError",
        "TypeEnforcementError",
        "X509CertError",
        "TagError",
        "CommandError",
        "StorageError",
        "InotifyError",
        "JobQueueError",
        "JobQueueDrainError",
        "JobQueueFull",
        "ConfdMagicError",
        "ConfdClientError",
        "UdpDataSizeError",
        "NoCtypesError",
        "IPAddressError",
        "LuxiError",
        "QueryFilterParseError",
        "RapiTestResult",
        "FileStoragePathError",
        "SshUpdateError",
    )
)


def _code(luxi_class: str) -> str:
    """Make the code of a class: `JobQueueFull` is `job_queue_full`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", luxi_class).lower()
    return "failed" if luxi_class == "GenericError" else words


# The codes by which a plain `GntError` says which of these classes it is, and back.
CODE_OF_CLASS: Final = {name: _code(name) for name in sorted(LUXI_CLASSES)}
CLASS_OF_CODE: Final = {code: name for name, code in CODE_OF_CLASS.items()}

# A request that cannot be read, or whose method nobody knows: these are answered with plain text.
BAD_REQUEST: Final = "bad_request"
# What a plain text or an unknown class in an answer becomes.
REQUEST_FAILED: Final = "request_failed"


def to_luxi(error: Exception) -> list[Any] | str:
    """Give the `result` of a failed response, or of a failed opcode in a job.

    Errors outside the family are named by their class only: their text was not written for others.
    """
    if not isinstance(error, GntError):
        return f"Caught exception: {type(error).__name__}; the log of the master daemon says more"
    if error.code == BAD_REQUEST:
        return error.text
    if type(error) is GntError and error.code in CLASS_OF_CODE:
        name = CLASS_OF_CODE[error.code]
        return [name, [] if name == "JobQueueFull" else [error.text]]
    return [error.luxi_class, error.luxi_args()]


def to_job_error(error: Exception) -> list[Any]:
    """Give the result of a failed opcode: always a class with arguments, `OpExecError` for what is no other."""
    value = to_luxi(error)
    return ["OpExecError", [value]] if isinstance(value, str) else value


def detail_of(error: Exception) -> dict[str, str | bool] | None:
    """Give what the LUXI classes have no room for, for clients of our own: code, text and hint apart.

    `in_doubt` is there if what was asked may come true all the same.
    """
    if not isinstance(error, GntError):
        return None
    doubt = {"in_doubt": True} if error.in_doubt else {}
    return {"code": error.code, "text": error.text, "hint": error.hint, **doubt}


def from_luxi(value: Any, detail: Any = None) -> GntError:
    """Give the error of a failed response; never raises, whatever the value is.

    `detail` is that of `detail_of`, if the answer has one. Unknown class names become a `GntError` with their text.
    """
    name, arguments = _split(value)
    error = _make(name, arguments)
    if isinstance(detail, dict) and all(isinstance(detail.get(key), str) for key in ("code", "text", "hint")):
        error.code, error.text, error.hint = detail["code"], detail["text"], detail["hint"]
        error.args = (error.text,)
        error.in_doubt = detail.get("in_doubt") is True
    return error


def _split(value: Any) -> tuple[str, list[Any]]:
    """Split an encoded error in class name (empty for plain text) and arguments."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        return value[0], value[1] if isinstance(value[1], list) else [value[1]]
    return "", [value]


def _make(name: str, arguments: list[Any]) -> GntError:
    """Make the error of a class."""
    text = _text(name, arguments)
    match name:
        case "OpPrereqError":
            code = arguments[1] if len(arguments) > 1 else WRONG_INPUT
            known = isinstance(code, str) and code in PREREQ_CODES
            return Refused(str(code) if known else WRONG_INPUT, _words(arguments[0]) if arguments else text)
        case "OpExecError":
            return Failed(text)
        case "ConfigurationError":
            return ConfigError(text)
        case "TypeEnforcementError":
            return BadParameter(text)
        case "JobLost":
            return JobLost(text)
        case "JobQueueDrainError":
            return QueueDrained()
    return GntError(CODE_OF_CLASS.get(name, REQUEST_FAILED), text)


def _text(name: str, arguments: list[Any]) -> str:
    """Make one line of an error's arguments; some classes have several."""
    match name, arguments:
        case "ResolverError", [host, _, problem]:
            return f"{_words(host)} does not resolve: {_words(problem)}"
        case "ConfigVersionMismatch", [expected, actual]:
            return f"configuration has version {_words(actual)}, expected {_words(expected)}"
        case "X509CertError", [file, problem]:
            return f"{_words(file)}: {_words(problem)}"
        case "ConfigVerifyError", [text, list(problems)]:
            return f"{_words(text)}: {'; '.join(map(_words, problems))}"
        case "DeviceCreationError", [text, _]:
            return _words(text)
        case "HooksAbort", [list(scripts)]:
            return f"hooks refused: {'; '.join(map(_hook, scripts))}"
        case "JobQueueFull", []:
            return "the job queue is full"
    said = ", ".join(map(_words, arguments))
    known = name in LUXI_CLASSES or not name
    return (said or name) if known else f"{name}: {said}"


def _hook(script: Any) -> str:
    """Say which hook failed where, and what it printed."""
    match script:
        case [node, path, output]:
            return f"{_words(path)} on {_words(node)}: {_words(output)}"
    return _words(script)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
