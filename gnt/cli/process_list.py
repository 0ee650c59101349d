"""What the list of processes shows of a command: secrets are overwritten there as soon as they were read.

Whoever looks in the moment before sees them, and so does the history of the shell: with `-` they come from standard
input. Why both: `docs/decisions/secrets-on-command-lines.md`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

# Fields of /proc/self/stat after the name in parentheses (proc(5)): where the arguments of this process lie in memory.
_ARG_START = 45
_ARG_END = 46


def hide(words: Sequence[str], shown: Sequence[str]) -> None:
    """Write `shown` over the last arguments of this process, which are `words`; what is too long is cut off.

    Nothing is done where the arguments are others, or where the system does not let us at them.
    """
    if list(words) == list(shown):
        return
    try:
        with open("/proc/self/stat", "rb") as stat:  # noqa: PTH123  (every command pays for loading Path)
            fields = stat.read().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
            memory.seek(start)
            line = memory.read(end - start)
            raw = [os.fsencode(word) for word in words]
            if not line.endswith(b"".join(word + b"\0" for word in raw)):
                return
            at = end
            for word, instead in zip(reversed(raw), reversed(shown), strict=True):
                at -= len(word) + 1
                memory.seek(at)
                memory.write(os.fsencode(instead)[: len(word)].ljust(len(word), b"\0"))
    except (OSError, ValueError, IndexError):
        return  # no such files here, as on another system than Linux: the argument stays as any other
