"""Opcodes that are understood and not carried out, each with what to do instead."""

from __future__ import annotations

from typing import Final

_NO_ALLOCATOR: Final = "no allocator is run yet: name the nodes"
_NO_EXPORTS: Final = "exports come later: gnt-cluster backup keeps the configuration, not disks"
_NO_HELPER: Final = "no out-of-band helper is run here: switch the machine with its own management board"
_ONLY_FOR_TESTS: Final = "OP_TEST_DELAY makes jobs of every kind"

WHY_ABSENT: Final = {
    "OP_BACKUP_EXPORT": _NO_EXPORTS,
    "OP_BACKUP_PREPARE": _NO_EXPORTS,
    "OP_BACKUP_REMOVE": _NO_EXPORTS,
    "OP_CLUSTER_POST_INIT": "it would only run hooks, and no hooks are run yet",
    "OP_GROUP_EVACUATE": "no allocator is run yet: OP_NODE_EVACUATE with remote_node, for each node of the group",
    "OP_INSTANCE_CHANGE_GROUP": _NO_ALLOCATOR,
    "OP_INSTANCE_MULTI_ALLOC": "no allocator is run yet: OP_INSTANCE_CREATE with pnode, a job for each instance",
    "OP_NODE_POWERCYCLE": _NO_HELPER,
    "OP_OOB_COMMAND": _NO_HELPER,
    "OP_RESTRICTED_COMMAND": "node daemons run no command that a caller names: gnt-cluster command goes over SSH",
    "OP_TEST_ALLOCATOR": _NO_ALLOCATOR,
    "OP_TEST_DUMMY": _ONLY_FOR_TESTS,
    "OP_TEST_JQUEUE": _ONLY_FOR_TESTS,
    "OP_TEST_OS_PARAMS": "OP_INSTANCE_CREATE and OP_INSTANCE_REINSTALL use osparams_secret in earnest",
}
"""By `OP_ID`."""
