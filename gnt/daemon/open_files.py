"""How many files a daemon may have open: each connection is one."""

from __future__ import annotations

import resource
from typing import Final

ENOUGH: Final = 65_536
"""More is of no use, and systems that allow any number report one beyond reason."""


def allow_many() -> int:
    """Raise this process's limit to what the system lets it have, at most `ENOUGH`; gives the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return ENOUGH if soft == resource.RLIM_INFINITY else soft
