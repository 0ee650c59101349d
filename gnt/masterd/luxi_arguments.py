"""The arguments of LUXI methods: checked before anybody sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from gnt.model.errors import WRONG_INPUT, Refused

A = TypeVar("A")

Method = Callable[[list[Any]], Awaitable[Any]]


def checked(name: str, wanted: type[A], function: Callable[[A], Awaitable[Any]]) -> Method:
    """Make the method that checks its arguments before the function sees them."""

    def method(args: list[Any]) -> Awaitable[Any]:
        try:
            checked = msgspec.convert(args, wanted)
        except msgspec.ValidationError as error:
            raise Refused(WRONG_INPUT, f"{name}: {str(error).replace('`', '')}") from None
        return function(checked)

    return method
