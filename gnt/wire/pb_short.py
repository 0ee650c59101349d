"""The two messages of Perspective Broker that are sent all the time, written and read in one step.

PB makes a tree of a message, and bytes of the tree, piece by piece, and the other end does the same backwards: 0.07 ms
of processor time at each end of a call. Ours are always the same but for a number and a byte string:

    a call:    [message, number, "root", "call", 1, [tuple, frame], [dictionary]]
    an answer: [answer, number, frame]

The bytes are those that PB itself writes, so either end may do without this module. What it does not know is left to
PB.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

LARGEST_NUMBER: Final = 2**31 - 1
"""PB writes larger ones in another way."""

# A number stands before the byte that says what it is: of a list, an integer, a string, a word of PB's vocabulary.
_CALL: Final = b"\x07\x80\x1a\x87%b\x81\x04\x82root\x04\x82call\x01\x81\x02\x80\x0b\x87%b\x82%b\x01\x80\x05\x87"
_CALL_END: Final = b"\x01\x80\x05\x87"
_ANSWER: Final = b"\x03\x80\x1b\x87%b\x81%b\x82%b"
_NUMBER: Final = rb"([\x00-\x7f]{1,5})"
_SIZE: Final = rb"([\x00-\x7f]{1,3})\x82"
_SHORT: Final = re.compile(
    rb"\x07\x80\x1a\x87%b\x81\x04\x82root\x04\x82call\x01\x81\x02\x80\x0b\x87%b|\x03\x80\x1b\x87%b\x81%b"
    % (_NUMBER, _SIZE, _NUMBER, _SIZE)
)


class Short(NamedTuple):
    """A message, and where the next one begins."""

    is_call: bool
    number: int
    frame: bytes
    end: int


def call(number: int, frame: bytes) -> bytes:
    """Write a call; `number` up to `LARGEST_NUMBER`, `frame` as large as PB takes."""
    return _CALL % (_digits(number), _digits(len(frame)), frame)


def answer(number: int, frame: bytes) -> bytes:
    """Write an answer, within the same limits."""
    return _ANSWER % (_digits(number), _digits(len(frame)), frame)


def read(data: bytes, begin: int) -> Short | None:
    """Read the message that begins at a place; None if it is another one, or not whole."""
    found = _SHORT.match(data, begin)
    if found is None:
        return None
    is_call = found.group(1) is not None
    number, size = found.group(1, 2) if is_call else found.group(3, 4)
    first = found.end()
    last = first + _number(size)
    end = last + len(_CALL_END) if is_call else last
    if end > len(data) or (is_call and data[last:end] != _CALL_END):
        return None
    return Short(is_call, _number(number), data[first:last], end)


def _digits(number: int) -> bytes:
    """Give a number to the base of 128, the lowest digit first."""
    if number < 128:
        return bytes((number,))
    digits = bytearray()
    while number:
        digits.append(number & 127)
        number >>= 7
    return bytes(digits)


def _number(digits: bytes) -> int:
    number = 0
    for digit in reversed(digits):
        number = number << 7 | digit
    return number
