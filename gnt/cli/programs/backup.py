"""gnt-backup: exports of instances."""

from __future__ import annotations

from gnt.cli.command import Program
from gnt.cli.list_commands import LISTS

PROGRAM = Program(
    name="gnt-backup",
    help="see the exports of instances",
    commands=LISTS["gnt-backup"],
    unsupported=dict.fromkeys(("export", "import", "remove"), ""),
)
