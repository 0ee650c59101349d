"""Opcodes that exercise the machinery itself."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.fields import DiskTemplateField, GroupForRoom, HypervisorField, Iallocator, OsparamsSecret
from gnt.opcodes.parameter_types import EvacMode, IallocDirection, IallocMode, Name, NicParams, NonNegative


class TestDelay(Opcode, frozen=True, kw_only=True, tag="OP_TEST_DELAY"):
    """Sleep, on the master and on nodes."""

    SUMMARY_FIELD: ClassVar[str] = "duration"

    duration: Annotated[float, Doc("seconds to sleep")]
    on_master: Annotated[bool, Doc("sleep on the master")] = True
    on_nodes: Annotated[tuple[Name, ...], Doc("nodes to sleep on")] = ()
    on_node_uuids: Annotated[tuple[Name, ...] | None, Doc("UUIDs of the nodes to sleep on, in the same order")] = None
    repeat: Annotated[int, Doc("times to sleep; 0 sleeps once, without counting", ge=0)] = 0
    interruptible: Annotated[bool, Doc("let a client cut the sleep short")] = False
    no_locks: Annotated[bool, Doc("take no locks on the nodes")] = True

    def summary(self) -> str:
        """Show the duration in whole nanoseconds."""
        return f"TEST_DELAY({round(self.duration * 1_000_000_000)} ns)"


class TestAllocator(Opcode, frozen=True, kw_only=True, tag="OP_TEST_ALLOCATOR"):
    """Put a request together for an allocator, and perhaps run it."""

    SUMMARY_FIELD: ClassVar[str] = "iallocator"

    direction: Annotated[IallocDirection, Doc("in: show the request only; out: run the allocator with it")]
    mode: Annotated[IallocMode, Doc("kind of request")]
    name: Annotated[str, Doc("object that the request is about", min_length=1)]
    nics: Annotated[tuple[NicParams, ...] | None, Doc("network interfaces of the imagined instance")] = None
    disks: Annotated[list[Any] | None, Doc("disks of the imagined instance")] = None
    hypervisor: HypervisorField = None
    iallocator: Iallocator = None
    tags: Annotated[tuple[Name, ...], Doc("tags of the imagined instance")] = ()
    memory: Annotated[NonNegative | None, Doc("memory of the imagined instance in MiB")] = None
    vcpus: Annotated[NonNegative | None, Doc("virtual processors of the imagined instance")] = None
    os: Annotated[Name | None, Doc("guest OS of the imagined instance")] = None
    disk_template: DiskTemplateField = None
    instances: Annotated[tuple[Name, ...] | None, Doc("instances that the request is about")] = None
    evac_mode: Annotated[EvacMode | None, Doc("which instances leave the node")] = None
    target_groups: Annotated[tuple[Name, ...] | None, Doc("node groups the request may use")] = None
    spindle_use: Annotated[int, Doc("spindles the imagined instance keeps busy", ge=0)] = 1
    count: Annotated[int, Doc("number of imagined instances", ge=0)] = 1
    group_name: GroupForRoom = None


class TestJqueue(Opcode, frozen=True, kw_only=True, tag="OP_TEST_JQUEUE"):
    """Exercise the job queue."""

    SINCE: ClassVar[str] = "2.2"

    notify_waitlock: Annotated[bool, Doc("tell the client when locks are waited for")] = False
    notify_exec: Annotated[bool, Doc("tell the client when the work begins")] = False
    log_messages: Annotated[tuple[str, ...], Doc("messages to log on the way")] = ()
    fail: Annotated[bool, Doc("end with an error")] = False


class TestOsParams(Opcode, frozen=True, kw_only=True, tag="OP_TEST_OS_PARAMS"):
    """Exercise secret OS parameters."""

    SINCE: ClassVar[str] = "2.16"

    osparams_secret: OsparamsSecret = None


class TestDummy(Opcode, frozen=True, kw_only=True, tag="OP_TEST_DUMMY"):
    """Do nothing: it can be queued, but nothing carries it out."""

    SINCE: ClassVar[str] = "2.3"

    result: Annotated[Any, Doc("value the opcode would answer")]
    messages: Annotated[Any, Doc("messages the opcode would log")]
    fail: Annotated[Any, Doc("end with an error")]
    submit_jobs: Annotated[Any, Doc("jobs the opcode would submit")]
