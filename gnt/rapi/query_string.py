"""Query parameters: `spec/rapi.md`, section 1. Empty ones are as if they were not there, unknown ones are ignored."""

from __future__ import annotations

import re
from typing import Final, TypeVar, overload
from urllib.parse import parse_qs

from gnt.rapi.errors import bad_request

MOST_PARAMETERS: Final = 1000
_INT: Final = re.compile(r"[+-]?[0-9]{1,9}\Z")
D = TypeVar("D")


class QueryString:
    """The parameters of one request."""

    def __init__(self, raw: bytes) -> None:
        """Read what follows the question mark. Raises `HttpError` (400) if there are too many."""
        self._values: dict[str, list[str]] = {}
        if not raw:
            return
        try:
            self._values = parse_qs(raw.decode("latin-1"), errors="replace", max_num_fields=MOST_PARAMETERS)
        except ValueError:
            raise bad_request(f"There are more than {MOST_PARAMETERS} query parameters") from None

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @overload
    def text(self, name: str) -> str | None: ...

    @overload
    def text(self, name: str, default: D) -> str | D: ...

    def text(self, name: str, default: object = None) -> object:
        """Give a parameter's text; of several the first."""
        return self._values.get(name, [default])[0]

    def texts(self, name: str) -> list[str]:
        """Give all texts of a parameter that may be repeated."""
        return list(self._values.get(name, ()))

    def required(self, name: str) -> str:
        """Give a parameter's text. Raises `HttpError` (400) if it is missing."""
        value = self.text(name)
        if value is None:
            raise bad_request(f"Missing query parameter '{name}'")
        return value

    def flag(self, name: str) -> bool:
        """Give a yes or no: numbers, 0 means no. Raises `HttpError` (400) for anything else."""
        value = self.text(name, "0")
        if not _INT.match(value):
            raise bad_request(f"Invalid value for the '{name}' parameter")
        return int(value) != 0
