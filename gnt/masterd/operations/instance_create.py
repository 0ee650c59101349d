"""Making an instance: check, reserve, create disks, install, start."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.instance_devices import NewDevices
from gnt.masterd.operations.instance_power import stop_call
from gnt.masterd.operations.instance_steps import (
    SUPPORTED_TEMPLATES,
    assemble_disks,
    bridges_of,
    refuse_missing_bridges,
    refuse_unusable,
    refuse_without_memory,
    release_disks,
)
from gnt.masterd.operations.os_choice import check_os_choice
from gnt.masterd.plan import Keep, Note, Plan, Reserve, Step, Undoable, on
from gnt.model.checks import needs_of, policy_violations
from gnt.model.cluster import Cluster
from gnt.model.errors import ALREADY_EXISTS, NOT_UNIQUE, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import check_name, check_tag
from gnt.model.objects import AdminState, Disk, DiskTemplate, HypervisorName, Instance, Node
from gnt.model.params import check_be, check_hv, check_os, fill_be, fill_hv, refuse_bad_be, refuse_bad_hv
from gnt.model.policy import fill_ipolicy
from gnt.model.specs import InstanceSpec, instance_spec
from gnt.opcodes.instance_create import InstanceCreate
from gnt.wire.calls import (
    BridgeCheck,
    DiskCreate,
    DiskRemove,
    GuestStart,
    HypervisorCheck,
    NodeFacts,
    NodeInfo,
    OsCheck,
    OsCreate,
    OsFacts,
    OsList,
    StorageCheck,
)

# Hypervisors whose guests have a console port of their own (VNC): spec/config.md, `network_port`.
WITH_CONSOLE_PORT = frozenset({HypervisorName.KVM, HypervisorName.XEN_HVM})
FIRST_PORT, LAST_PORT = 11000, 14999


@dataclass(frozen=True, kw_only=True)
class Room:
    """What was seen on the primary node: its guest OS definitions, free memory, the bridges it lacks."""

    definitions: list[OsFacts] = field(default_factory=list)
    facts: NodeFacts | None = None
    missing_bridges: list[str] = field(default_factory=list)


@executes(InstanceCreate)
class CreateInstance(Operation[InstanceCreate]):
    """Make an instance. Once its guest OS is installed it stays, even if its first start fails."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the new name and the primary node with its room."""
        name = check_name(self.op.instance_name, "instance")
        node = self._primary(cluster)
        return (
            Locks()
            .exclusive(Level.INSTANCE, name)
            .shared(Level.NODEGROUP, node.group)
            .exclusive(Level.NODE, node.uuid)
            .exclusive(Level.NODE_RES, node.uuid)
        )

    async def observe(self, cluster: Cluster, look: Look) -> Room:
        """Check on the primary node what only it can tell; what is wrong in the opcode is found before."""
        instance, disks = self._instance(cluster)
        if self.op.name_check:
            await look.resolve(instance.name)
        spec = instance_spec(_with(cluster, instance, disks), instance)
        node = instance.primary_node
        facts = await look.ask(node, NodeInfo(hypervisors={spec.hypervisor: dict(spec.hvparams)}))
        await look.ask(node, HypervisorCheck(hypervisor=spec.hypervisor, parameters=dict(spec.hvparams)))
        await self._look_at_storage(cluster, look, node)
        bridges = bridges_of(spec)
        missing = await look.ask(node, BridgeCheck(bridges=bridges)) if bridges else []
        definitions = [] if self.op.no_install else await self._look_at_os(cluster, look, spec)
        return Room(definitions=definitions, facts=facts, missing_bridges=missing)

    def plan(self, cluster: Cluster, room: Room) -> Plan:
        """Reserve, make the disks, install; then it exists, and is started if that is wanted."""
        instance, disks = self._instance(cluster)
        node = cluster.nodes[instance.primary_node]
        cluster = _with(cluster, instance, disks)
        spec = instance_spec(cluster, instance, osparams_private=self.op.osparams_secret or {})
        refuse_missing_bridges(node, room.missing_bridges)
        if self._starts and room.facts is not None:
            memory = fill_be(cluster, instance.beparams)["maxmem"]
            refuse_without_memory(node, room.facts, instance.hypervisor, memory)
        return Plan(
            (
                *self._policy_notes(cluster, instance),
                *self._note_port(cluster, instance),
                Reserve((instance, *disks)),
                *self._make(node.uuid, spec),
                *self._keep_and_start(node.uuid, instance, disks, spec),
            ),
            result=[node.name],
            dry_result=[node.name],
        )

    @property
    def _starts(self) -> bool:
        return self.op.start and not self.op.no_install

    def _make(self, node: str, spec: InstanceSpec) -> tuple[Step, ...]:
        """Create the disks and install the guest OS on them."""
        create = tuple(
            Undoable(on(node, DiskCreate(disk=disk)), undo=on(node, DiskRemove(disk=disk))) for disk in spec.disks
        )
        if self.op.no_install or not spec.disks:
            return create
        debug = self.op.debug_level or 0
        install = Undoable(on(node, OsCreate(instance=spec, debug_level=debug)), undo=None)
        return (
            *create,
            *assemble_disks(node, spec.disks),
            Note("* running the instance OS create scripts..."),
            install,
        )

    def _keep_and_start(
        self, node: str, instance: Instance, disks: tuple[Disk, ...], spec: InstanceSpec
    ) -> tuple[Step, ...]:
        """Keep what was made: from here on nothing is thrown away."""
        made = tuple(replace(disk, forthcoming=False) for disk in disks)
        down = replace(instance, forthcoming=False)
        if not self._starts:
            released = () if self.op.no_install else release_disks(node, spec.disks, tolerant=True)
            return (Keep((down, *made)), *released)
        up = replace(down, admin_state=AdminState.UP, disks_active=True)
        # The secret parameters were for the scripts only: the running guest's description goes without them.
        guest = replace(spec, osparams_private={})
        return (
            Keep((up, *made)),
            Note("* starting instance..."),
            *(() if spec.disks and not self.op.no_install else assemble_disks(node, spec.disks)),
            Undoable(on(node, GuestStart(instance=guest)), undo=on(node, stop_call(instance, timeout=0))),
        )

    # What the opcode says

    def _primary(self, cluster: Cluster) -> Node:
        if self.op.iallocator is not None:
            raise Unsupported("OP_INSTANCE_CREATE: iallocator is not supported by this version", hint="name a node: -n")
        named = self.op.pnode_uuid or self.op.pnode
        if named is None:
            raise Refused(WRONG_INPUT, "OP_INSTANCE_CREATE: pnode: no primary node is given", hint="-n NODE")
        node = cluster.node(named)
        refuse_unusable(node, as_what="primary node")
        return node

    def _instance(self, cluster: Cluster) -> tuple[Instance, tuple[Disk, ...]]:
        """Make the objects that the opcode describes, all names and numbers chosen; refuse what cannot be."""
        self._refuse_unsupported()
        op, node = self.op, self._primary(cluster)
        name = check_name(op.instance_name, "instance")
        self._refuse_taken(cluster, name)
        hypervisor = self._hypervisor(cluster)
        template = self._template(cluster)
        hvparams = check_hv(hypervisor, op.hvparams)
        beparams = check_be(op.beparams)
        refuse_bad_be(fill_be(cluster, beparams))
        refuse_bad_hv(hypervisor, fill_hv(cluster, hypervisor, op.os_type or "", hvparams))
        devices = NewDevices(cluster, self.fresh, conflicts_check=op.conflicts_check)
        nics = devices.nics(op.nics)
        disks = devices.disks(op.disks, template, name, node, driver=op.file_driver, subdirectory=op.file_storage_dir)
        instance = Instance(
            uuid=self.fresh.uuid(),
            name=name,
            primary_node=node.uuid,
            os=op.os_type or "",
            hypervisor=hypervisor,
            hvparams=hvparams,
            beparams=beparams,
            osparams=check_os(op.osparams),
            osparams_private=check_os(op.osparams_private or {}),
            nics=nics,
            disks=tuple(disk.uuid for disk in disks),
            network_port=_free_port(cluster) if hypervisor in WITH_CONSOLE_PORT else None,
            tags=tuple(dict.fromkeys(check_tag(tag) for tag in op.tags)),
            forthcoming=True,
        )
        return instance, disks

    def _refuse_unsupported(self) -> None:
        """Refuse by name what this version does not carry out; nothing given is ever ignored."""
        op = self.op
        given = {
            f"mode {op.mode}": op.mode != "create",
            "forthcoming": op.forthcoming,
            "commit": op.commit,
            "ip_check": op.ip_check,
            "instance_communication": op.instance_communication,
            "opportunistic_locking": op.opportunistic_locking,
            "group_name": op.group_name is not None,
            "identify_defaults": op.identify_defaults,
        }
        for what, is_given in given.items():
            if is_given:
                raise Unsupported(f"OP_INSTANCE_CREATE: {what} is not supported by this version")
        if op.snode is not None or op.snode_uuid is not None:
            raise Unsupported("OP_INSTANCE_CREATE: snode: no template of this version uses a secondary node")

    def _refuse_taken(self, cluster: Cluster, name: str) -> None:
        if cluster.instances.by_name(name) is not None:
            raise Refused(ALREADY_EXISTS, f"Instance {name} is already in the cluster", hint="choose another name")
        if cluster.nodes.by_name(name) is not None or name == cluster.settings.cluster_name:
            raise Refused(NOT_UNIQUE, f"{name} is the name of a node or of the cluster", hint="choose another name")

    def _hypervisor(self, cluster: Cluster) -> HypervisorName:
        enabled = cluster.settings.enabled_hypervisors
        hypervisor = HypervisorName(self.op.hypervisor or cluster.settings.default_hypervisor)
        if hypervisor not in enabled:
            raise Refused(
                WRONG_STATE, f"Hypervisor {hypervisor} is not enabled", hint=f"enabled are: {' '.join(enabled)}"
            )
        return hypervisor

    def _template(self, cluster: Cluster) -> DiskTemplate:
        enabled = cluster.settings.enabled_disk_templates
        template = DiskTemplate(self.op.disk_template or enabled[0])
        if template not in SUPPORTED_TEMPLATES:
            raise Unsupported(
                f"Disk template {template} is not supported by this version",
                hint=f"supported are: {' '.join(sorted(SUPPORTED_TEMPLATES))}",
            )
        if template not in enabled:
            raise Refused(
                WRONG_INPUT, f"Disk template {template} is not enabled", hint=f"enabled are: {' '.join(enabled)}"
            )
        if not self.op.no_install and not self.op.os_type:
            raise Refused(WRONG_INPUT, "No guest OS is given", hint="-o OS, or --no-install for empty disks")
        return template

    def _policy_notes(self, cluster: Cluster, instance: Instance) -> tuple[Step, ...]:
        policy = fill_ipolicy(cluster, cluster.group_of(cluster.nodes[instance.primary_node]))
        found = policy_violations(policy, needs_of(cluster, instance))
        if found and not self.op.ignore_ipolicy:
            raise Refused(
                WRONG_INPUT, f"Instance policy violated: {'; '.join(found)}", hint="--ignore-ipolicy, or other sizes"
            )
        return tuple(Note(f" - WARNING: instance policy violated: {text}") for text in found)

    def _note_port(self, cluster: Cluster, instance: Instance) -> tuple[Step, ...]:
        """Note the highest port that was ever used, where this is it; it stays noted, whatever happens."""
        port = instance.network_port or 0
        if port <= cluster.settings.highest_used_port:
            return ()
        return (Keep((replace(cluster.settings, highest_used_port=port),)),)

    # What the node is asked

    async def _look_at_storage(self, cluster: Cluster, look: Look, node: str) -> None:
        settings = cluster.settings
        directories = {
            DiskTemplate.FILE: settings.file_storage_dir,
            DiskTemplate.SHAREDFILE: settings.shared_file_storage_dir,
        }
        template = self._template(cluster)
        if template in directories:
            await look.ask(node, StorageCheck(kind=template, directory=directories[template]))

    async def _look_at_os(self, cluster: Cluster, look: Look, spec: InstanceSpec) -> list[OsFacts]:
        definitions = await look.ask(spec_node(cluster, spec), OsList())
        check_os_choice(cluster, spec.os, definitions, force_variant=self.op.force_variant)
        hidden = {**spec.osparams_private, **(self.op.osparams_secret or {})}
        texts = {key: str(value) for key, value in {**spec.osparams, **hidden}.items()}
        check = OsCheck(os=spec.os, parameters=texts, hidden=sorted(hidden), force_variant=self.op.force_variant)
        await look.ask(spec_node(cluster, spec), check)
        return definitions


def spec_node(cluster: Cluster, spec: InstanceSpec) -> str:
    """Give the UUID of the primary node that a description names."""
    return cluster.node(spec.primary_node).uuid


def _with(cluster: Cluster, instance: Instance, disks: tuple[Disk, ...]) -> Cluster:
    for disk in disks:
        cluster = cluster.put(disk)
    return cluster.put(instance)


def _free_port(cluster: Cluster) -> int:
    """Give the lowest free console port, 11000 to 14999."""
    used = {instance.network_port for instance in cluster.instances.values()}
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in used:
            return port
    raise Refused(WRONG_STATE, f"All ports from {FIRST_PORT} to {LAST_PORT} are in use")
