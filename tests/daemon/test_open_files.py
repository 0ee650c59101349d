"""The limit of open files."""

from __future__ import annotations

import resource
import subprocess
import sys

PROGRAM = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
from gnt.daemon.open_files import allow_many
first = allow_many()
print(first, resource.getrlimit(resource.RLIMIT_NOFILE), allow_many())
"""


def test_the_limit_is_raised_to_what_the_system_allows() -> None:
    """As far as the hard limit goes, which stays; a second time nothing changes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2000 if hard == resource.RLIM_INFINITY else min(hard, 2000)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hard=wanted)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{wanted} ({wanted}, {wanted}) {wanted}"
