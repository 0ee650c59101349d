"""How a check tells what it found: `spec/config.md`, section 7."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol


class Wishes(Protocol):
    """How the opcode wants findings told."""

    @property
    def error_codes(self) -> bool:
        """Say whether lines carry machine-readable codes."""

    @property
    def ignore_errors(self) -> Collection[str]:
        """Give the codes that count as warnings only."""


class Report:
    """Tells findings as they are made; `errors` are those that count."""

    def __init__(self, tell: Callable[[str], None], wishes: Wishes) -> None:
        self.errors: list[str] = []
        self._tell = tell
        self._wishes = wishes

    def note(self, text: str) -> None:
        """Tell what is being done."""
        self._tell(text)

    def add(self, code: str, kind: str, item: str, text: str, *, warning: bool = False) -> None:
        """Tell a finding about an item: `kind` is cluster, group, node or instance."""
        is_warning = warning or code in self._wishes.ignore_errors
        level = "WARNING" if is_warning else "ERROR"
        if self._wishes.error_codes:
            line = f"  - {level}:{code}:{kind}:{item or None}:{text}"
        else:
            line = f"  - {level}: {' '.join(part for part in (kind, item) if part)}: {text}"
        self._tell(line)
        if not is_warning:
            self.errors.append(code)
