"""Options that many commands have: `spec/cli.md`, sections 2 and 3."""

from __future__ import annotations

from typing import Final

from gnt.cli.command import Option, option, unsupported
from gnt.cli.values import choice, comma_list, field_names, yes_no

PRIORITIES: Final = {"low": 10, "normal": 0, "high": -10}

HELP = option("-h", "--help", help="show this text")
DEBUG = option(
    "-d", "--debug", help="say on standard error what is asked of the master, and have it log more", counts=True
)
REASON = option("--reason", metavar="TEXT", help="why this is done; kept with the job")
JSON = option("--json", help="print results and errors as JSON, for programs")
COMMON: Final = (DEBUG, HELP, JSON, REASON)
"""Every command has these."""

SUBMIT = option("--submit", help="print the job's number and do not wait for its end")
PRINT_JOBID = option("--print-jobid", help="print the job's number first, then go on")
DRY_RUN = option("--dry-run", help="only check whether this could be done; change nothing")
PRIORITY = option("--priority", metavar="WORD", parse=choice(*PRIORITIES), help="low, normal or high")
PLAN = option("--plan", help="print locks, nodes and steps, as things stand; change nothing")
CHANGING: Final = (SUBMIT, PRINT_JOBID, DRY_RUN, PLAN, PRIORITY)
"""Every command that submits jobs which change something has these."""

FORCE = option("-f", "--force", help="ask no question")
VERBOSE = option("-v", "--verbose", help="say more")

NO_HEADERS = option("--no-headers", help="print no line with the titles")
SEPARATOR = option("--separator", metavar="TEXT", help="put this between columns instead of filling them up")
UNITS = option("--units", metavar="UNIT", parse=choice("h", "m", "g", "t"), help="unit of sizes: h, m, g or t")
OUTPUT = option(
    "-o", "--output", metavar="FIELDS", parse=field_names, help="the fields to show; +FIELDS adds to the usual ones"
)
LONG_STATES = option("-v", "--verbose", help="write (offline) or (nodata) instead of a sign")
WATCH = option("--watch", help="look every second, and write the list anew when it has changed, until interrupted")
FILTER = option("-F", "--filter", help="the argument is a filter, whatever it looks like")
TABLE: Final = (NO_HEADERS, SEPARATOR, OUTPUT, LONG_STATES, WATCH)
FIELDS_TABLE: Final = (NO_HEADERS, SEPARATOR)

SYNC = unsupported("--sync", hint="lists never wait for locks")
ROMAN = unsupported("--roman", hint="numbers are Arabic")
NEVER_USED: Final = "such states were only ever recorded, and used by nothing"

SELECTION: Final[tuple[Option, ...]] = (
    option("--instance", help="arguments are instances (the usual)", dest="select", const="instance"),
    option("--node", help="arguments are nodes: their instances", dest="select", const="node"),
    option("--primary", help="arguments are nodes: instances that run there", dest="select", const="primary"),
    option("--secondary", help="arguments are nodes: instances mirrored there", dest="select", const="secondary"),
    option("--all", help="every instance", dest="select", const="all"),
    option("--tags", help="arguments are tags: instances that have any", dest="select", const="tags"),
    option("--node-tags", help="arguments are tags of nodes: their instances", dest="select", const="node-tags"),
    option("--pri-node-tags", help="arguments are tags of primary nodes", dest="select", const="pri-node-tags"),
    option("--sec-node-tags", help="arguments are tags of secondary nodes", dest="select", const="sec-node-tags"),
    option("--force-multiple", help="ask no question although several instances are meant"),
)

TAGS = option("--tags", metavar="TAG,...", parse=comma_list, help="tags of the new object")
YES_DO_IT = option("--yes-do-it", "--ya-rly", help="yes, really")


def yes_no_option(*flags: str, help: str, **more: str) -> Option:  # noqa: A002  (the option's own word)
    """Make an option that takes yes or no."""
    return option(*flags, metavar="yes|no", parse=yes_no, help=help, **more)
