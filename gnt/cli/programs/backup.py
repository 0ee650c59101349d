"""gnt-backup: exports of instances."""

from __future__ import annotations

from gnt.cli.command import Program
from gnt.cli.list_commands import LISTS

PROGRAM = Program(
    name="gnt-backup",
    help="see the exports of instances",
    commands=LISTS["gnt-backup"],
    unsupported=dict.fromkeys(
        ("export", "import", "remove"), "exports come later: gnt-cluster backup keeps the configuration, not disks"
    ),
)
