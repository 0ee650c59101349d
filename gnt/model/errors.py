"""The one family of errors, each with a stable code that LUXI, RAPI and the exit status map from.

An error says what is wrong in one line that names the field or object, and, where there is one, the remedy in
`hint`. Class names as LUXI clients know them are in `LUXI_CLASS`: `spec/luxi.md`, section 2.
"""

from __future__ import annotations

from typing import ClassVar, Final

# Codes of refusals, as every Ganeti client knows them (spec/luxi.md, "OpPrereqError codes").
RESOLVER: Final = "resolver_error"
NO_RESOURCES: Final = "insufficient_resources"
TEMP_NO_RESOURCES: Final = "temp_insufficient_resources"
WRONG_INPUT: Final = "wrong_input"
WRONG_STATE: Final = "wrong_state"
UNKNOWN_ENTITY: Final = "unknown_entity"
ALREADY_EXISTS: Final = "already_exists"
NOT_UNIQUE: Final = "resource_not_unique"
INTERNAL: Final = "internal_error"
ENVIRONMENT: Final = "environment_error"

PREREQ_CODES: Final = frozenset(
    {
        RESOLVER,
        NO_RESOURCES,
        TEMP_NO_RESOURCES,
        WRONG_INPUT,
        WRONG_STATE,
        UNKNOWN_ENTITY,
        ALREADY_EXISTS,
        NOT_UNIQUE,
        INTERNAL,
        ENVIRONMENT,
    }
)


class GntError(Exception):
    """Base of all errors that a user may see.

    Shapes: `code` is a stable machine-readable word, `text` one line, `hint` one line or empty,
    `luxi_class` the name under which LUXI clients know the error. `in_doubt`: what was asked may come
    true all the same.
    """

    luxi_class: ClassVar[str] = "GenericError"
    in_doubt: bool = False

    def __init__(self, code: str, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return self.text

    def luxi_args(self) -> list[object]:
        """Give the argument list that goes with `luxi_class` on the wire."""
        return [self.text]


class _WithHint(GntError):
    """An error that jobs end in: their results have no room of their own for a hint, it stands behind the message."""

    luxi_class = "OpExecError"

    def luxi_args(self) -> list[object]:
        """Give the message with the hint, which old clients have no field for."""
        return [f"{self.text} ({self.hint})" if self.hint else self.text]


class Refused(_WithHint):
    """The request cannot be carried out as it stands; nothing was changed. `code` is one of `PREREQ_CODES`."""

    luxi_class = "OpPrereqError"

    def luxi_args(self) -> list[object]:
        """Give the message with the hint, and the code."""
        return [*super().luxi_args(), self.code]


class Failed(_WithHint):
    """Carrying the request out failed half-way; the text says what was undone or finished."""

    def __init__(self, text: str, *, code: str = "failed", hint: str = "") -> None:
        super().__init__(code, text, hint=hint)


class Unsupported(Refused):
    """A known opcode, option or parameter that this version does not carry out; named, never ignored."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(WRONG_INPUT, text, hint=hint)


class NodeFailure(_WithHint):
    """A node answered a call with an error: the call ended, and did not do what was asked.

    Codes: those of the driver (`no_space`, `not_found`, `busy`, `script_failed`, …); `retry` says whether the same
    call may succeed later.
    """

    def __init__(self, code: str, text: str, *, hint: str = "", retry: bool = False) -> None:
        super().__init__(code, text, hint=hint)
        self.retry = retry


class InDoubt(_WithHint):
    """A node call whose outcome is not known: the deadline passed or the connection broke after it was sent."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__("in_doubt", text, hint=hint)


class NotReached(_WithHint):
    """A node call that was never sent: no connection to the node, or it is flagged offline."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__("not_reached", text, hint=hint)


class NotFenced(NotReached):
    """A node call that was never sent: the node is there, but not fenced yet; it may answer who only looks."""


class StaleEpoch(GntError):
    """The caller speaks for an epoch that is older than one this node has promised."""

    luxi_class = "OpExecError"

    def __init__(self, text: str, *, in_doubt: bool = False) -> None:
        super().__init__("stale_epoch", text, hint="another master has taken over: ask gnt-cluster getmaster")
        self.in_doubt = in_doubt


class StruckOff(StaleEpoch):
    """The configuration of a newer master does not have the caller as a candidate: it need not try again."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = "not_master"


class NoMajority(GntError):
    """Too few voters have the change on disk; it is not acknowledged, and nothing acts on it.

    `in_doubt`: it is written down, and holds if they return; else nothing was changed.
    """

    luxi_class = "GenericError"

    def __init__(self, text: str, *, hint: str = "", in_doubt: bool = False) -> None:
        super().__init__("no_majority", text, hint=hint)
        self.in_doubt = in_doubt


class ConfigError(GntError):
    """The stored configuration cannot be used: another version, another program's, damaged."""

    luxi_class = "ConfigurationError"

    def __init__(self, text: str, *, code: str = "configuration", hint: str = "") -> None:
        super().__init__(code, text, hint=hint)


class QueueDrained(GntError):
    """The job queue takes no new jobs at the moment."""

    luxi_class = "JobQueueDrainError"

    def __init__(self) -> None:
        super().__init__(
            "queue_drained", "The job queue is drained and takes no jobs", hint="gnt-cluster queue undrain"
        )


class JobLost(GntError):
    """There is no job of this number."""

    luxi_class = "JobLost"

    def __init__(self, text: str) -> None:
        super().__init__("job_lost", text)


class BadParameter(GntError):
    """A parameter whose name or value type is wrong."""

    luxi_class = "TypeEnforcementError"

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(WRONG_INPUT, text, hint=hint)
