"""Opcodes that compare the cluster with its description."""

from __future__ import annotations

from typing import ClassVar

from gnt.opcodes.base import Opcode
from gnt.opcodes.fields import (
    DebugSimulateErrors,
    ErrorCodes,
    GroupName,
    GroupToCheck,
    IgnoreErrors,
    IsStrict,
    SkipChecks,
    Verbose,
    VerifyClutter,
)


class ClusterVerify(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_VERIFY"):
    """Submit the jobs that check the configuration and every node group."""

    debug_simulate_errors: DebugSimulateErrors = False
    error_codes: ErrorCodes = False
    skip_checks: SkipChecks = frozenset()
    ignore_errors: IgnoreErrors = frozenset()
    verbose: Verbose = False
    group_name: GroupToCheck = None
    verify_clutter: VerifyClutter = False


class ClusterVerifyConfig(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_VERIFY_CONFIG"):
    """Check what concerns the cluster as a whole."""

    SINCE: ClassVar[str] = "2.5"

    debug_simulate_errors: DebugSimulateErrors = False
    error_codes: ErrorCodes = False
    ignore_errors: IgnoreErrors = frozenset()
    verbose: Verbose = False


class ClusterVerifyGroup(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_VERIFY_GROUP"):
    """Check the nodes and instances of a node group."""

    SUMMARY_FIELD: ClassVar[str] = "group_name"
    SINCE: ClassVar[str] = "2.5"

    group_name: GroupName
    debug_simulate_errors: DebugSimulateErrors = False
    error_codes: ErrorCodes = False
    skip_checks: SkipChecks = frozenset()
    ignore_errors: IgnoreErrors = frozenset()
    verbose: Verbose = False
    verify_clutter: VerifyClutter = False


class ClusterVerifyDisks(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_VERIFY_DISKS"):
    """Submit a job for each node group that looks for missing disks."""

    group_name: GroupToCheck = None
    is_strict: IsStrict = True


class GroupVerifyDisks(Opcode, frozen=True, kw_only=True, tag="OP_GROUP_VERIFY_DISKS"):
    """Look for nodes that fail and instances whose disks are inactive or missing."""

    SUMMARY_FIELD: ClassVar[str] = "group_name"
    SINCE: ClassVar[str] = "2.5"

    group_name: GroupName
    is_strict: IsStrict = True
