"""What msgspec says about a fault, in the words of this house."""

from __future__ import annotations

import re
from typing import Final

AS_A_KEY: Final = " as a key"
"""How the text of a fault ends that is about a key of an object."""

_AT: Final = re.compile(r"^(?P<text>.*) - at `(?P<path>\$[^`]*)`$", re.DOTALL)
_AT_KEY: Final = re.compile(r"^(?P<text>.*) - at `key` in `(?P<path>\$[^`]*)`$", re.DOTALL)
_FIELD: Final = re.compile(r"^Object (?P<what>missing required|contains unknown) field `(?P<name>[^`]*)`$", re.DOTALL)


def in_words(message: str) -> tuple[str, str]:
    """Split the text of a `msgspec.ValidationError` into the path of the fault and what is wrong there.

    `Expected `int`, got `str` - at `$.disks[0].size`` gives `("$.disks[0].size", "expected int, got str")`.
    """
    path, text = "$", message
    if match := _AT_KEY.match(message):
        path, text = match["path"], f"{match['text']}{AS_A_KEY}"
    elif match := _AT.match(message):
        path, text = match["path"], match["text"]
    if match := _FIELD.match(text):
        missing = match["what"].startswith("missing")
        return f"{path}.{match['name']}", "required, but missing" if missing else "no such parameter"
    text = text.replace("`", "").replace("Invalid enum value", "not allowed:")
    return path, text[:1].lower() + text[1:]
