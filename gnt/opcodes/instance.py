"""Opcodes about instances: naming, installing, describing, removing."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, InstanceOpcode, Opcode
from gnt.opcodes.fields import (
    ForceVariant,
    IpCheck,
    NameCheck,
    NewName,
    OsparamsPrivate,
    OsparamsSecret,
    ShutdownTimeout,
    UseLocking,
)
from gnt.opcodes.parameter_types import Name, Params


class InstanceRename(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_RENAME"):
    """Give a stopped instance another name."""

    SUMMARY_FIELD: ClassVar[str] = ""

    new_name: NewName
    name_check: NameCheck = False
    ip_check: IpCheck = False


class InstanceReinstall(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_REINSTALL"):
    """Install the guest OS anew over the disks of a stopped instance."""

    force_variant: ForceVariant = False
    os_type: Annotated[
        Name | None, Doc("guest OS to install, with its variant after a plus sign; left out, the recorded one")
    ] = None
    osparams: Annotated[
        Params | None, Doc("parameters handed to the scripts of the guest OS, beside those recorded")
    ] = None
    osparams_private: OsparamsPrivate = None
    osparams_secret: OsparamsSecret = None


class InstanceRemove(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_REMOVE"):
    """Shut an instance down and remove it with all its data."""

    shutdown_timeout: ShutdownTimeout = 120
    ignore_failures: Annotated[
        bool, Doc("forget the instance even if parts of it cannot be cleaned up on the nodes")
    ] = False


class InstanceConsole(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_CONSOLE"):
    """Say how to reach the console of a running guest."""


class InstanceQueryData(Opcode, frozen=True, kw_only=True, tag="OP_INSTANCE_QUERY_DATA"):
    """Describe instances in detail, down to every layer of their disks."""

    use_locking: UseLocking = False
    instances: Annotated[tuple[Name, ...], Doc("instances to describe; none named means all")] = ()
    static: Annotated[bool, Doc("say what is recorded and ask no node")] = False
