"""Opcodes that start and stop guests."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gnt.opcodes.base import Doc, InstanceOpcode
from gnt.opcodes.fields import NoRemember, ShutdownTimeout
from gnt.opcodes.parameter_types import AdminStateSource, Params, RebootType


class InstanceStartup(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_STARTUP"):
    """Start an instance: attach its disks, then run the guest."""

    force: Annotated[bool, Doc("start although a mirror on the secondary node cannot be set up")] = False
    ignore_offline_nodes: Annotated[bool, Doc("record the wish although the primary node is offline")] = False
    hvparams: Annotated[Params, Doc("hypervisor parameters for this run of the guest only")] = msgspec.field(
        default_factory=dict
    )
    beparams: Annotated[Params, Doc("backend parameters for this run of the guest only")] = msgspec.field(
        default_factory=dict
    )
    no_remember: NoRemember = False
    startup_paused: Annotated[bool, Doc("hold the guest before its first instruction")] = False
    shutdown_timeout: ShutdownTimeout = 120


class InstanceShutdown(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_SHUTDOWN"):
    """Shut an instance down: ask the guest first, then pull the plug."""

    force: Annotated[bool, Doc("shut down also an instance that is marked offline")] = False
    ignore_offline_nodes: Annotated[bool, Doc("only record the wish if the primary node is offline")] = False
    timeout: Annotated[int, Doc("seconds that the guest is given; 0 pulls the plug", ge=0)] = 120
    no_remember: NoRemember = False
    admin_state_source: Annotated[
        AdminStateSource | None, Doc("who wants the instance down: the administrator, or the guest's user")
    ] = None


class InstanceReboot(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_REBOOT"):
    """Restart a guest."""

    shutdown_timeout: ShutdownTimeout = 120
    ignore_secondaries: Annotated[bool, Doc("start although a mirror on the secondary node cannot be set up")] = False
    reboot_type: Annotated[RebootType, Doc("soft: by the hypervisor; hard: stop and start; full: detach the disks too")]
