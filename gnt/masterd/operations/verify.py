"""Checking the cluster against its configuration: `spec/config.md`, sections 6 and 7."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.master_address import has_own_address
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.verify_disks import report_disks
from gnt.masterd.operations.verify_report import Report
from gnt.masterd.plan import Plan
from gnt.masterd.unsafe import UnsafeRecord
from gnt.masterd.voting import voters
from gnt.model.checks import verify_config
from gnt.model.cluster import Cluster
from gnt.model.names import nice_key
from gnt.model.objects import AdminState, DiskTemplate, Instance, Node
from gnt.model.params import fill_hv
from gnt.opcodes.verify import ClusterVerify, ClusterVerifyConfig, ClusterVerifyGroup
from gnt.wire.calls import InterfaceCheck, NodeVerify, Peer, VerifyFacts
from gnt.wire.guest_calls import GuestFacts, GuestList

CLOCK_SKEW = 150.0
UNSAFE_AGE = 90 * 86400.0
_HOW_DEBTS_END = (
    "  - NOTICE: what is owed is tried again every minute: mend on its node what keeps it from that; "
    "a node that leaves the cluster is let off (gnt-node remove)"
)
"""Seconds that a change without a majority is told: as long as the past of objects is kept."""
# How the verify of a hypervisor begins where it only remarks something (`gnt.noded.hypervisors.interface`).
NO_FAULT = "note: "
CERTIFICATE_WARNING, CERTIFICATE_ERROR = 30 * 86400.0, 7 * 86400.0


@executes(ClusterVerify)
class VerifyCluster(Operation[ClusterVerify]):
    """Submit a job that checks the configuration, and one for each group that depends on it."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock nothing: the jobs do."""
        del cluster
        return Locks()

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Hand the jobs over."""
        del seen
        common: dict[str, Any] = {
            name: getattr(self.op, name)
            for name in ("debug_simulate_errors", "error_codes", "ignore_errors", "verbose")
        }
        group_only: dict[str, Any] = {"skip_checks": self.op.skip_checks, "verify_clutter": self.op.verify_clutter}
        if self.op.group_name is not None:
            group = cluster.group(self.op.group_name)
            return Plan(jobs=((ClusterVerifyGroup(group_name=group.name, **common, **group_only),),))
        groups = sorted(cluster.groups.values(), key=lambda group: nice_key(group.name))
        jobs: list[tuple[Any, ...]] = [(ClusterVerifyConfig(**common),)]
        for number, group in enumerate(groups, start=1):
            after_config = ((-number, ()),)
            jobs.append((ClusterVerifyGroup(group_name=group.name, depends=after_config, **common, **group_only),))
        return Plan(jobs=tuple(jobs))


@executes(ClusterVerifyConfig)
class VerifyConfiguration(Operation[ClusterVerifyConfig]):
    """Check what concerns the cluster as a whole: the configuration, certificates, what nodes still owe."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep everything as it is meanwhile."""
        del cluster
        locks = Locks()
        for level in (Level.INSTANCE, Level.NODEGROUP, Level.NODE, Level.NODE_RES, Level.NETWORK):
            locks = locks.every(level)
        return locks

    async def observe(self, cluster: Cluster, look: Look) -> list[str]:
        """Check; the answer is made of lines that are told at once."""
        report = Report(look.note, self.op)
        report.note("* Verifying cluster config")
        for finding in verify_config(cluster):
            report.add(finding.code, finding.item, finding.name, finding.text, warning=finding.severity == "warning")
        if cluster.settings.renewed_certs:
            text = "a renewal of certificates was cut off, two of each node count: gnt-cluster renew-crypto"
            report.add("ECLUSTERCLIENTCERT", "cluster", "", text, warning=True)
        for unsafe in await look.unsafe_changes():
            if unsafe.time > self.fresh.now() - UNSAFE_AGE:
                report.add("ECLUSTERCFG", "cluster", "", _unsafe_text(unsafe), warning=True)
        problem = look.address_problem()
        if problem:
            text = f"does not have the cluster's address {cluster.settings.master_ip} up: {problem}"
            report.add("ENODENET", "node", cluster.master.name, text)
        debts = await look.debts()
        for node, text in debts:
            name = cluster.nodes[node].name if node in cluster.nodes else node
            report.add("ENODERPC", "node", name, f"owes: {text}", warning=True)
        if debts:
            report.note(_HOW_DEBTS_END)
        return report.errors

    def plan(self, cluster: Cluster, seen: list[str]) -> Plan:
        """Answer whether all is well."""
        del cluster
        return Plan(result=not seen)


@executes(ClusterVerifyGroup)
class VerifyGroup(Operation[ClusterVerifyGroup]):
    """Check the nodes of a group and the instances on them."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep the group, its nodes and their instances as they are meanwhile."""
        group = cluster.group(self.op.group_name)
        nodes = cluster.members(group)
        instances = [instance.name for node in nodes for instance in cluster.instances_on(node.uuid)]
        return (
            Locks()
            .shared(Level.INSTANCE, *instances)
            .shared(Level.NODEGROUP, group.uuid)
            .shared(Level.NODE, *(node.uuid for node in nodes))
        )

    async def observe(self, cluster: Cluster, look: Look) -> list[str]:
        """Ask all nodes side by side, then compare."""
        report = Report(look.note, self.op)
        group = cluster.group(self.op.group_name)
        nodes = cluster.members(group)
        report.note(f"* Gathering data ({len(nodes)} nodes)")
        online = [node for node in nodes if not node.offline]
        settings = cluster.settings
        hypervisors = {str(name): fill_hv(cluster, name, "", {}) for name in settings.enabled_hypervisors}
        verified = await look.ask_all({node.uuid: _node_question(cluster, node, hypervisors) for node in online})
        hosts = [node for node in online if node.vm_capable]
        guests = await look.ask_all({node.uuid: GuestList(hypervisors=hypervisors) for node in hosts})
        report.note("* Verifying node status")
        expected = {name for name, params in hypervisors.items() if params.get("kvm_flag") == "disabled"}
        _check_nodes(nodes, verified, report, now=self.fresh.now(), emulated=expected)
        _check_digests(cluster, nodes, verified, report)
        await _check_master_interface(cluster, look, online, report)
        report.note("* Verifying instance status")
        _check_guests(cluster, hosts, guests, report)
        _check_secondaries(cluster, nodes, report)
        await report_disks(cluster, look, nodes, report)
        _check_offline(cluster, nodes, report)
        return report.errors

    def plan(self, cluster: Cluster, seen: list[str]) -> Plan:
        """Answer whether all is well."""
        del cluster
        return Plan(result=not seen)


def _unsafe_text(unsafe: UnsafeRecord) -> str:
    when = datetime.fromtimestamp(unsafe.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"on {when} {unsafe.by} struck off {' '.join(unsafe.nodes)} without a majority: "
        f"what only they had is not here (epoch {unsafe.epoch.partition('@')[0]})"
    )


def _node_question(cluster: Cluster, node: Node, hypervisors: Mapping[str, Any]) -> NodeVerify:
    peers = [
        Peer(name=peer.name, primary_ip=peer.primary_ip, secondary_ip=peer.secondary_ip)
        for peer in cluster.sorted_nodes()
        if not peer.offline
    ]
    settings = cluster.settings
    directories = {
        DiskTemplate.FILE: settings.file_storage_dir,
        DiskTemplate.SHAREDFILE: settings.shared_file_storage_dir,
    }
    used = {str(kind): path for kind, path in directories.items() if kind in settings.enabled_disk_templates and path}
    return NodeVerify(
        peers=peers,
        hypervisors=list(hypervisors) if node.vm_capable else [],
        parameters=[("cluster", name, dict(params)) for name, params in hypervisors.items()] if node.vm_capable else [],
        storage_paths=used if node.vm_capable else {},
    )


def _check_nodes(
    nodes: Iterable[Node], verified: Mapping[str, Any], report: Report, *, now: float, emulated: Container[str] = ()
) -> None:
    releases = {facts.version.release for facts in verified.values() if isinstance(facts, VerifyFacts)}
    for node in nodes:
        if node.offline:
            continue
        facts = verified[node.uuid]
        if not isinstance(facts, VerifyFacts):
            report.add("ENODERPC", "node", node.name, f"does not answer: {facts}")
            continue
        _check_node(node, facts, report, now=now, emulated=emulated)
        if len(releases) > 1:
            text = f"runs release {facts.version.release}; in the cluster there are {' '.join(sorted(releases))}"
            report.add("ENODEVERSION", "node", node.name, text, warning=True)


def _check_node(node: Node, facts: VerifyFacts, report: Report, *, now: float, emulated: Container[str]) -> None:
    """Check what a node said; hypervisors in `emulated` do without KVM because the cluster says so."""
    if abs(facts.time - now) > CLOCK_SKEW:
        report.add("ENODETIME", "node", node.name, f"its clock is {facts.time - now:+.0f} s off the master's")
    for peer, text in facts.unreachable.items():
        report.add("ENODENET", "node", node.name, f"does not reach {peer}: {text}")
    for hypervisor, text in facts.hypervisors.items():
        if not text.startswith(NO_FAULT):
            report.add("ENODEHV", "node", node.name, f"{hypervisor}: {text}")
        elif hypervisor not in emulated:
            report.note(f"  - NOTICE: node {node.name}: {hypervisor}: {text.removeprefix(NO_FAULT)}")
    for source, hypervisor, text in facts.parameters:
        report.add("ENODEHV", "node", node.name, f"{hypervisor} parameters of the {source}: {text}")
    for path in facts.kept_aside:
        text = f"{path} has changes that no majority had and the cluster does without: read it, then move it away"
        report.add("ENODEFILECHECK", "node", node.name, text, warning=True)
    for kind, text in facts.storage_paths.items():
        code = "ENODEFILESTORAGEPATHUNUSABLE" if kind == DiskTemplate.FILE else "ENODESHAREDFILESTORAGEPATHUNUSABLE"
        report.add(code, "node", node.name, text)
    left = facts.certificate_ends - now
    if left < CERTIFICATE_WARNING:
        text = f"the certificate of {node.name} " + ("has expired" if left < 0 else f"ends in {left / 86400:.0f} days")
        report.add("ECLUSTERCERT", "cluster", "", text, warning=left >= CERTIFICATE_ERROR)


def _check_digests(cluster: Cluster, nodes: Iterable[Node], verified: Mapping[str, Any], report: Report) -> None:
    """Compare the certificates that nodes use with those by which candidates are known."""
    known, renewed = cluster.settings.candidate_certs, cluster.settings.renewed_certs
    if not known:
        return
    for node in nodes:
        facts, counting = verified.get(node.uuid), {known.get(node.uuid), renewed.get(node.uuid)} - {None}
        if node.uuid not in voters(cluster):
            if node.uuid in known:
                text = "is no master candidate, but its certificate counts as that of one"
                report.add("ECLUSTERCLIENTCERT", "node", node.name, text)
        elif isinstance(facts, VerifyFacts) and facts.certificate not in counting:
            text = f"uses a certificate ({facts.certificate[:16]}) that other nodes take for nobody's"
            report.add("ECLUSTERCLIENTCERT", "node", node.name, f"{text}: gnt-cluster renew-crypto")
    users = Counter(facts.certificate for facts in verified.values() if isinstance(facts, VerifyFacts))
    for node in nodes:
        facts = verified.get(node.uuid)
        if isinstance(facts, VerifyFacts) and facts.certificate and users[facts.certificate] > 1:
            report.add("ECLUSTERCLIENTCERT", "node", node.name, "uses the same certificate as another node")


async def _check_master_interface(cluster: Cluster, look: Look, online: Iterable[Node], report: Report) -> None:
    """See that whoever is the master, or may become it, has the interface that carries the cluster's address."""
    name, address = cluster.settings.master_netdev, cluster.settings.master_ip
    if not has_own_address(cluster) or ip_address(address).is_loopback:
        return
    able = [node for node in online if node.uuid in voters(cluster)]
    answers = await look.ask_all({node.uuid: InterfaceCheck(interfaces=[name]) for node in able})
    for node in able:
        missing = answers[node.uuid]
        if not isinstance(missing, Exception) and missing:
            report.add("ENODESETUP", "node", node.name, f"has no interface {name}, to raise {address} on as the master")


def _check_guests(cluster: Cluster, hosts: Iterable[Node], guests: Mapping[str, Any], report: Report) -> None:
    for node in hosts:
        answer = guests[node.uuid]
        if isinstance(answer, Exception):
            report.add("ENODEHV", "node", node.name, f"does not list its guests: {answer}")
            continue
        running: dict[str, GuestFacts] = {guest.uuid: guest for guest in answer}
        for guest in running.values():
            _check_guest(cluster, node, guest, report)
        for instance in cluster.instances_on(node.uuid):
            wanted, runs = instance.admin_state, _is_up(running.get(instance.uuid))
            if wanted is AdminState.UP and not runs:
                report.add("EINSTANCEDOWN", "instance", instance.name, f"does not run on its node {node.name}")
            elif wanted is not AdminState.UP and runs:
                _report_unwanted(instance, node, report)


def _report_unwanted(instance: Instance, node: Node, report: Report) -> None:
    """Tell of a guest that runs though it should not: an error where it is marked offline, and nobody looks after it.

    One that is wanted down may have been started so on purpose (`--no-remember`). There is no code of its own for it:
    it is the state of the instance that is another than what is wanted.
    """
    offline = instance.admin_state is AdminState.OFFLINE
    state = "is marked offline" if offline else "is wanted down"
    remedy = "--force stops it" if offline else "stops it, gnt-instance startup has it wanted up"
    text = f"{state}, but runs on its node {node.name}: gnt-instance shutdown {remedy}"
    report.add("EINSTANCEDOWN", "instance", instance.name, text, warning=not offline)


def _is_up(guest: GuestFacts | None) -> bool:
    return guest is not None and guest.state in {"running", "paused"}


def _check_guest(cluster: Cluster, node: Node, guest: GuestFacts, report: Report) -> None:
    instance: Instance | None = cluster.instances.get(guest.uuid)
    if instance is None:
        report.add("ENODEORPHANINSTANCE", "node", node.name, f"runs {guest.name}, which the cluster does not know")
    elif instance.primary_node != node.uuid:
        primary = cluster.nodes[instance.primary_node].name
        report.add("EINSTANCEWRONGNODE", "instance", instance.name, f"runs on {node.name}, not on its node {primary}")


def _check_secondaries(cluster: Cluster, nodes: Iterable[Node], report: Report) -> None:
    """See that instances can be moved to their secondary nodes, and that nodes with instances are meant to have any."""
    for node in nodes:
        for instance in cluster.instances_on(node.uuid):
            others = cluster.secondaries(instance)
            for other in others:
                if other.offline:
                    text = f"its secondary node {other.name} is offline"
                    report.add("EINSTANCEBADNODE", "instance", instance.name, text)
            for bad in (node, *others):
                if not bad.vm_capable:
                    text = f"its node {bad.name} is not to have instances (vm_capable is off)"
                    report.add("EINSTANCEBADNODE", "instance", instance.name, text)


def _check_offline(cluster: Cluster, nodes: Iterable[Node], report: Report) -> None:
    away = [node for node in nodes if node.offline]
    for node in away:
        for instance in cluster.instances_on(node.uuid):
            report.add("EINSTANCEBADNODE", "instance", instance.name, f"its node {node.name} is offline")
    if away:
        report.note(f"  - NOTICE: {len(away)} offline node(s) found.")
