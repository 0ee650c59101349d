"""Descriptions as an indented tree that reads like YAML: `spec/cli.md`, section 1.7."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gnt.cli.terminal import say


class Pairs(list[tuple[str, Any]]):
    """Keys and values in the order in which they are shown."""


def show(value: Any) -> None:
    """Print a value."""
    for line in lines(value):
        say(line)


def lines(value: Any, level: int = 0) -> Iterator[str]:
    """Give the lines of lists, mappings (sorted by key) and `Pairs`; tuples of plain values stay on one line."""
    indent = "  " * level
    if isinstance(value, Pairs):
        yield from _entries(value, level)
    elif isinstance(value, dict):
        yield from _entries(sorted(value.items(), key=lambda item: str(item[0])), level)
    elif isinstance(value, list):
        for item in value:
            yield from _item(item, level)
    else:
        yield indent + scalar(value)


def _entries(entries: Sequence[tuple[str, Any]], level: int) -> Iterator[str]:
    for key, value in entries:
        head = f"{'  ' * level}{key}: "
        if isinstance(value, dict | list) and not value:
            yield head
        elif isinstance(value, dict | list):
            yield head
            yield from lines(value, level + 1)
        else:
            yield head + scalar(value)


def _item(item: Any, level: int) -> Iterator[str]:
    """Give a list's item: a dash before its first line, the others below it."""
    indent = "  " * level
    if isinstance(item, dict | list) and item:
        first, *rest = list(lines(item, level + 1))
        yield f"{indent}- {first.lstrip()}"
        yield from rest
    else:
        yield f"{indent}- {scalar(item)}"


def scalar(value: Any) -> str:
    """Give a plain value; a tuple as `[a, b]`."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, dict):
        return ", ".join(f"{key}={scalar(value[key])}" for key in sorted(value)) or "(empty)"
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
