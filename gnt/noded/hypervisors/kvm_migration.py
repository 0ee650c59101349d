"""Live migration of kvm guests: libvirt to libvirt, everything under TLS with the nodes' certificates.

The source's libvirtd connects to the target's; the guest's memory goes straight from QEMU to QEMU. Domains are
transient on both sides, so after it only the target knows the guest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gnt.model.errors import InDoubt, NodeFailure
from gnt.model.specs import InstanceSpec
from gnt.noded.hypervisors.libvirt_connection import one_line
from gnt.noded.hypervisors.libvirt_driver import LibvirtDriver
from gnt.noded.hypervisors.libvirt_place import is_embedded
from gnt.noded.hypervisors.migration_xml import places, retarget
from gnt.noded.hypervisors.pki import prepare_tls
from gnt.wire.calls import DiskDevice
from gnt.wire.guest_calls import MigrationProgress, MigrationTicket

_MIB: Final = 1024 * 1024


class MigratingDriver(LibvirtDriver):
    """A driver whose guests move between libvirtds."""

    def accept(self, instance: InstanceSpec, disks: Sequence[DiskDevice], source: str, address: str) -> MigrationTicket:
        """See that the guest could start here, and say where its things are here."""
        if is_embedded(self._connection.uri()):
            raise NodeFailure(
                "unsupported",
                f"{instance.name} cannot move to this node: it runs libvirt inside gnt-noded",
                hint="run libvirtd on both nodes",
            )
        self._prepare_tls()
        domain = self._ours(instance)
        if domain is not None:
            raise NodeFailure("exists", f"{instance.name} runs here already, it cannot arrive from {source}")
        self._check_links(instance)
        xml, _ = self.domain_xml(instance, disks)
        self._make_log_directories(xml)
        data = {"node": self._place.name, "places": places(xml)}
        return MigrationTicket(hypervisor=self.name, address=address, data=data)

    def send(self, instance: InstanceSpec, target: str, ticket: MigrationTicket, live: bool) -> None:
        """Send the guest; blocks until it has moved or stays."""
        library, domain = self._lv, self._running(instance.name, instance.uuid)
        with self._connection.errors(f"preparing the migration of {instance.name}", code="migration_failed"):
            xml = domain.XMLDesc(library.VIR_DOMAIN_XML_MIGRATABLE | library.VIR_DOMAIN_XML_SECURE)
            domain.migrateSetMaxDowntime(int(instance.hvparams["migration_downtime"]), 0)
        self._prepare_tls()
        parameters = self._parameters(instance, target, ticket)
        parameters[library.VIR_MIGRATE_PARAM_DEST_XML] = retarget(xml, ticket.data.get("places", {}))
        flags = self._flags(instance.hvparams, live=live)
        to = f"qemu+tls://{_host(ticket.address)}/system?pkipath={self._place.layout.libvirt_pki}"
        # Halting while it moves would look like a user's doing here; the target watches from `finish` on.
        self._user_down.expected(instance.uuid)
        try:
            domain.migrateToURI3(to, parameters, flags)
        except library.libvirtError as error:
            raise self._explain(instance, target, error) from error

    def abort_send(self, name: str, uuid: str) -> None:
        """Abort the job of the domain, if it has one."""
        domain = self._domain(uuid)
        if domain is not None:
            self._abort_job(domain, name)

    def progress(self, name: str, uuid: str) -> MigrationProgress:
        """Give how much memory was sent."""
        domain = self._domain(uuid)
        if domain is None:
            return MigrationProgress(state="none")
        with self._connection.errors(f"asking about the migration of {name}"):
            try:
                stats = domain.jobStats(0)
            except self._lv.libvirtError as error:
                if error.get_error_code() in self._gone:
                    return MigrationProgress(state="none")
                raise
        states = {
            self._lv.VIR_DOMAIN_JOB_NONE: "none",
            self._lv.VIR_DOMAIN_JOB_COMPLETED: "completed",
            self._lv.VIR_DOMAIN_JOB_FAILED: "failed",
            self._lv.VIR_DOMAIN_JOB_CANCELLED: "cancelled",
        }
        return MigrationProgress(
            state=states.get(stats["type"], "active"),
            transferred=stats.get("memory_processed", 0) // _MIB,
            total=stats.get("memory_total", 0) // _MIB,
        )

    def cancel_accept(self, instance: InstanceSpec) -> None:
        """End a domain that was only half received."""
        domain = self._domain(instance.uuid)
        if domain is None or not self._incoming(domain):
            return
        with self._connection.errors(f"ending the half-received {instance.name}"):
            try:
                domain.destroy()
            except self._lv.libvirtError as error:
                if error.get_error_code() not in self._gone:
                    raise

    def finish(self, instance: InstanceSpec, arrived: bool) -> None:
        """At the target set up routed interfaces and watch the guest; at the source forget it."""
        domain = self._domain(instance.uuid)
        if not arrived:
            if domain is not None:
                raise NodeFailure("migration_failed", f"{instance.name} still runs here")
            self._user_down.forget(instance.uuid)
            return
        if domain is None or self._incoming(domain):
            raise NodeFailure("not_running", f"{instance.name} has not arrived here")
        if instance.hvparams.get("user_shutdown"):
            self._user_down.watch(instance.name, instance.uuid)
        self._set_up_interfaces(domain)

    def settle(self) -> None:
        """Abort migrations away from here that an earlier daemon began; without libvirtd there can be none.

        Before that, libvirt gets the node's certificate, so that others can send guests here.
        """
        self._prepare_tls()
        if is_embedded(self._connection.uri()):
            return
        with self._connection.errors("looking for migrations that nobody waits for"):
            domains = self._connection.get().listAllDomains(self._lv.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        for domain in domains:
            if self._mark(domain) is not None and self._outgoing(domain):
                self._abort_job(domain, domain.name())

    def _prepare_tls(self) -> None:
        try:
            prepare_tls(self._place.layout)
        except OSError as error:
            raise NodeFailure("hypervisor", f"libvirt's certificates cannot be written: {error}") from error

    def _parameters(self, instance: InstanceSpec, target: str, ticket: MigrationTicket) -> dict[str, Any]:
        library, given, address = self._lv, instance.hvparams, ticket.address
        parameters: dict[str, Any] = {
            library.VIR_MIGRATE_PARAM_URI: f"tcp://{_host(address)}:{given['migration_port']}",
            library.VIR_MIGRATE_PARAM_LISTEN_ADDRESS: address,
            library.VIR_MIGRATE_PARAM_TLS_DESTINATION: str(ticket.data.get("node", target)),
        }
        if int(given["migration_bandwidth"]):
            parameters[library.VIR_MIGRATE_PARAM_BANDWIDTH] = int(given["migration_bandwidth"])
        if "xbzrle" in _caps(given):
            parameters[library.VIR_MIGRATE_PARAM_COMPRESSION] = "xbzrle"
        return parameters

    def _flags(self, given: Mapping[str, Any], *, live: bool) -> int:
        """Give libvirt's flags. Unsafe in its sense: that both nodes see the same disks is the master's knowledge."""
        library = self._lv
        flags = library.VIR_MIGRATE_PEER2PEER | library.VIR_MIGRATE_TLS | library.VIR_MIGRATE_UNSAFE
        if live:
            flags |= library.VIR_MIGRATE_LIVE
        by_cap = {
            "xbzrle": library.VIR_MIGRATE_COMPRESSED,
            "auto-converge": library.VIR_MIGRATE_AUTO_CONVERGE,
            "multifd": library.VIR_MIGRATE_PARALLEL,
        }
        for cap in _caps(given):
            flags |= by_cap.get(cap, 0)
        return int(flags)

    def _explain(self, instance: InstanceSpec, target: str, error: Exception) -> NodeFailure | InDoubt:
        """Say what a failed migration has left: the guest runs on here, or it is not known where."""
        said = one_line(error)
        ended = f"the migration of {instance.name} to {target} ended with: {said}"
        try:
            facts = self.find(instance.name, instance.uuid)
        except NodeFailure as failure:
            return InDoubt(f"{ended}; and then {failure.text}")
        if facts is not None and facts.state != "user_down":
            text = f"{instance.name} could not move to {target} and runs on here: {said}"
            return NodeFailure("migration_failed", text)
        return InDoubt(f"{ended}; it is not here any more")

    def _abort_job(self, domain: Any, name: str) -> None:
        with self._connection.errors(f"aborting the migration of {name}"):
            try:
                domain.abortJob()
            except self._lv.libvirtError as error:
                if error.get_error_code() not in self._gone:
                    raise

    def _incoming(self, domain: Any) -> bool:
        """Say whether a domain is on its way to us: libvirt tells the progress of a migration at its source only."""
        try:
            state, reason = domain.state()
            if state != self._lv.VIR_DOMAIN_PAUSED or reason == self._lv.VIR_DOMAIN_PAUSED_USER:
                return False
            return bool(self._operation(domain) == self._lv.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN)
        except self._lv.libvirtError as error:
            refusals = {self._lv.VIR_ERR_OPERATION_UNSUPPORTED, self._lv.VIR_ERR_OPERATION_INVALID}
            return error.get_error_code() in refusals

    def _outgoing(self, domain: Any) -> bool:
        try:
            return bool(self._operation(domain) == self._lv.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)
        except self._lv.libvirtError:
            return False

    @staticmethod
    def _operation(domain: Any) -> int:
        return int(domain.jobStats(0).get("operation", 0))


def _caps(given: Mapping[str, Any]) -> list[str]:
    return [cap for cap in given["migration_caps"].split(":") if cap]


def _host(address: str) -> str:
    """Give an address as it stands in a URI."""
    return f"[{address}]" if ":" in address else address
