"""What an operation intends, as values: steps, and the plan that holds them.

`Operation.plan` gives a `Plan` or raises `Refused`; the engine runs it, `--plan` prints it, tests compare it, the
simulator cuts it at every step. A step says what it is, so that a crash at any moment has one right answer:

* `Reserve`   commits new objects before anything is made; its undo drops them again;
* `Undoable`  a node call whose compensation is known and recorded before the call is sent;
* `Forward`   a node call past the point of no return: recovery finishes it;
* `Uncertain` a node call whose outcome only the nodes can tell (a migration): recovery looks, then goes on;
* `Keep`      commits objects and is a milestone: what was done before it is not undone any more;
* `Forget`    commits the removal of objects; a milestone likewise;
* `Note`      a line for the job's log;
* `Pause`     a wait on the master;
* `Await`     the same question to a node until its answer is good (disks that come into step): nothing to undo;
* `Release`   locks that are given up early;
* `Promote`   a node is made ready to vote;
* `Tell`, `Reconnect`, `Entrust`: what renewing certificates needs of the master itself; nothing to undo.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gnt.masterd.jobs.lockset import Level
from gnt.model.objects import ConfigObject
from gnt.wire.calls import NodeCall


class Action(msgspec.Struct, frozen=True):
    """A call to be made to a node (its UUID)."""

    node: str
    call: NodeCall[Any]


def on(node: str, call: NodeCall[Any]) -> Action:
    """Say it as it reads: `on(primary, GuestStart(...))`."""
    return Action(node, call)


class Undoable(msgspec.Struct, frozen=True):
    """Do it; if the stage fails later, `undo` is done. `None`: there is nothing to undo.

    `tolerant`: a failure is told in the job's log and does not end the operation (a mirror that cannot be set up on a
    secondary node, where that may be borne); what was half done is undone all the same if the stage fails.
    """

    do: Action
    undo: Action | None
    tolerant: bool = False


class Forward(msgspec.Struct, frozen=True):
    """Do it; once begun it is finished, by recovery if need be.

    `tolerant`: a failure is told in the job's log and does not end the operation (releasing disks after a guest
    stopped, cleaning a source after a migration); what stays undone becomes the node's debt, unless it is not `owed`
    (a node that leaves the cluster).

    `until_done`, of a tolerant step: what the node plainly says it cannot do is owed too, and tried again whenever it
    pays. That is for what nobody could name any more: volumes that the model has forgotten.
    """

    do: Action
    tolerant: bool = False
    owed: bool = True
    until_done: bool = False


class Uncertain(msgspec.Struct, frozen=True):
    """Do it; when its outcome is in doubt, `settle` names how to find it out (a key of `gnt.masterd.settling`).

    `arguments` are what the settling needs, plain JSON.
    """

    do: Action
    settle: str
    arguments: dict[str, Any]


class Reserve(msgspec.Struct, frozen=True):
    """Commit new objects, to be dropped again when the stage fails before the next milestone."""

    objects: tuple[ConfigObject, ...]


class Keep(msgspec.Struct, frozen=True):
    """Commit these objects as they are given; a milestone."""

    objects: tuple[ConfigObject, ...]


class Forget(msgspec.Struct, frozen=True):
    """Commit the removal of these objects; a milestone."""

    objects: tuple[ConfigObject, ...]


class Note(msgspec.Struct, frozen=True):
    """Tell the person who waits."""

    text: str


class Pause(msgspec.Struct, frozen=True):
    """Wait on the master, `seconds` long (OP_TEST_DELAY); nothing to undo."""

    seconds: float


class Await(msgspec.Struct, frozen=True):
    """Ask a node until its answer is good; a stop or a kill ends the wait, and recovery has nothing to settle.

    `ask` is a reading call, `until` a key of `gnt.masterd.awaiting`: what judges the answers, tells how far things are
    and how soon to ask again. `arguments` are what it needs. It changes nothing, so it may stand anywhere.
    """

    ask: Action
    until: str
    arguments: dict[str, Any] = {}


class Release(msgspec.Struct, frozen=True):
    """Give up the locks of these levels: from here on others may work there."""

    levels: tuple[Level, ...]


class Promote(msgspec.Struct, frozen=True):
    """Prepare a node (its UUID) to vote: it gets the authority's key and a copy of the store, and follows the log.

    The `Keep` after it makes the node a candidate. Without that, nothing but a copy has changed.
    """

    node: str


class Tell(msgspec.Struct, frozen=True):
    """Wait until every online node has been told what is true now; fails with the names of those that were not.

    `anew`: also those that were told already.
    """

    anew: bool = False


class Reconnect(msgspec.Struct, frozen=True):
    """Connect anew to every node, with the certificate that the master has now. Calls under way are not disturbed."""


class Entrust(msgspec.Struct, frozen=True):
    """Give a candidate (its UUID) a key that the master has, which stands in no plan and no row.

    It is the one with which the authority signs now, or with `rapi` that of the remote API.
    """

    node: str
    rapi: bool = False


class Together(msgspec.Struct, frozen=True):
    """Steps that are begun side by side; the next step waits for all of them."""

    steps: tuple[Undoable | Forward, ...]


ByMaster = Tell | Reconnect | Entrust

ByItself = Note | Pause | Await | Release | Promote | ByMaster

Step = Undoable | Forward | Uncertain | Together | Reserve | Keep | Forget | ByItself


class Plan(msgspec.Struct, frozen=True):
    """The steps of one stage, in order; what the opcode's result is; and jobs to submit when it ends.

    `jobs` are lists of opcodes (as `gnt.opcodes` structs), committed together with the end of the opcode; the result
    then gets the member `jobs`, as `spec/opcodes.md` (jobs_list) has it. `dry_result` is the result of a dry run.
    """

    steps: tuple[Step, ...] = ()
    result: Any = None
    dry_result: Any = None
    jobs: tuple[tuple[Any, ...], ...] = ()
