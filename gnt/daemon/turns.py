"""A daemon's turns on the processors: short ones, so that they come soon.

What a daemon does it does in less than a millisecond, and then it waits for a disk or for somebody to ask. Where others
compute, guests for example, the kernel lets one that wakes up wait until the turn of another is over, unless its own is
the shorter one. Its share of the processors remains the same. Linux 6.12 and newer go by that; older ones do not care.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

SHORT_TURN: Final = 100_000
"""Nanoseconds, the least that the kernel takes; by itself it has a millisecond and a half to three."""

# By `uname -m`: sched_setattr and sched_getattr, for which the standard library has nothing.
_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275), "riscv64": (274, 275)}
# struct sched_attr in its first form: size, policy, flags, nice, priority, runtime, deadline, period.
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
_RESET_ON_FORK: Final = 1


def ask_for_short_turns() -> bool:
    """Ask for short turns for the calling thread; says whether the kernel was asked and took it.

    What the thread starts has its turns as ever: a guest is to compute in long ones.
    """
    attributes = turns()
    if attributes is None or attributes[0] not in (os.SCHED_OTHER, os.SCHED_BATCH):
        return False  # somebody knows better
    policy, flags, nice, _ = attributes
    set_attributes, _ = _CALLS[platform.machine()]
    wanted = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, flags | _RESET_ON_FORK, nice, 0, SHORT_TURN, 0, 0)
    return _system(set_attributes, wanted, 0)


def turns() -> tuple[int, int, int, int] | None:
    """Give the calling thread's policy, flags, nice value and length of a turn in nanoseconds; None: nobody knows."""
    if platform.machine() not in _CALLS:
        return None
    _, get_attributes = _CALLS[platform.machine()]
    found = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if not _system(get_attributes, found, _ATTRIBUTES.size, 0):
        return None
    _, policy, flags, nice, _, runtime, _, _ = _ATTRIBUTES.unpack(found.raw)
    return policy, flags, nice, runtime


def _system(number: int, attributes: object, *more: int) -> bool:
    """Make a system call for the calling thread; says whether it went well."""
    return bool(ctypes.CDLL(None).syscall(number, 0, attributes, *more) == 0)
