"""LUXI messages as bytes: a text followed by the byte 0x03 (`spec/luxi.md`, section 1). Loads next to nothing."""

from __future__ import annotations

from typing import Any, Final

from gnt.model.errors import WRONG_INPUT, GntError, Refused

END: Final = b"\x03"
MAX_RESPONSE: Final = 64 * 1024 * 1024
MAX_REQUEST: Final = 16 * 1024 * 1024
CONNECT_TIMEOUT: Final = 10.0
TIMEOUT: Final = 60.0
NO_CHANGE: Final = "nochange"
# What clients of ours say they are, in the member `client` of a request, which the original does not have.
OWN_CLIENT: Final = "gnt"
# The longest wait for a job change that a server grants, in seconds.
LONGEST_WAIT: Final = 89.0


class FrameSplitter:
    """Cuts what arrives into messages. After an error the connection is of no more use."""

    def __init__(self, limit: int = MAX_RESPONSE) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next piece and give the messages that are complete, without their end byte.

        Raises `GntError` (`too_large`) when a message has more than `limit` bytes, complete or not.
        """
        start = len(self._rest)
        self._rest += data
        frames: list[bytes] = []
        begin = 0
        while (end := self._rest.find(END, max(begin, start))) >= 0:
            self._check(end - begin)
            frames.append(bytes(self._rest[begin:end]))
            begin = end + 1
        del self._rest[:begin]
        self._check(len(self._rest))
        return frames

    @property
    def pending(self) -> int:
        """Give the number of bytes of the message that is still incomplete."""
        return len(self._rest)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise GntError("too_large", f"LUXI message has more than {self._limit} bytes")


def parse_job_id(value: Any) -> int:
    """Give a job's number from a number or a string of digits; raises `Refused` (`wrong_input`)."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise Refused(WRONG_INPUT, f"{str(value)[:40]!r} is no job number")
    return value
