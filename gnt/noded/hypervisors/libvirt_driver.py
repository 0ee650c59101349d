"""What all hypervisors behind libvirt have in common: starting, finding and ending domains.

Domains are transient: nothing of them stays when they end, and libvirt starts none by itself. Their UUID and name are
the instance's; our mark in their metadata tells them from foreign ones, which are never listed and never touched.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from twisted.logger import Logger

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.handler import Place
from gnt.noded.hypervisors import console_client, linux, nic_setup
from gnt.noded.hypervisors.domain_xml import MARK, Remark, device_id, with_sources
from gnt.noded.hypervisors.libvirt_connection import LibvirtConnection
from gnt.noded.hypervisors.user_down import UserDown
from gnt.wire.calls import DiskDevice, HypervisorFacts
from gnt.wire.guest_calls import Console, GuestFacts

_LOG = Logger(namespace="gnt.noded.hypervisors")


class LibvirtDriver(ABC):
    """Domains of one libvirt connection; what they look like is the subclass's."""

    name: ClassVar[str]

    def __init__(self, place: Place, connection: LibvirtConnection) -> None:
        self._place = place
        self._connection = connection
        self._user_down = UserDown(place.layout.run / f"{self.name}-hypervisor", self.name)
        self._callbacks: list[Callable[[str], None]] = []
        connection.listen(self._event)

    @abstractmethod
    def domain_xml(self, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> tuple[str, list[Remark]]:
        """Give the XML of a domain as it would start on this node now."""

    @abstractmethod
    def check(self, parameters: Mapping[str, Any]) -> None:
        """Check filled parameters on this node."""

    # What is there

    def list_guests(self) -> list[GuestFacts]:
        """List our guests, sorted by name; guests that were halted from inside, too."""
        with self._connection.errors("listing guests"):
            active = self._connection.get().listAllDomains(self._lv.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        found = {facts.uuid: facts for facts in self._user_down.all()}
        for domain in active:
            facts = self._facts(domain)
            if facts is not None:
                found[facts.uuid] = facts
        return sorted(found.values(), key=lambda facts: facts.name)

    def find(self, name: str, uuid: str) -> GuestFacts | None:
        """Find one guest."""
        domain = self._domain(uuid)
        facts = self._facts(domain) if domain is not None else None
        return facts or self._user_down.find(uuid) if _named(facts, name) else None

    def node_facts(self) -> HypervisorFacts:
        """Give memory and processors of the node, and the emulator's version."""
        with self._connection.errors("asking for the version"):
            number = self._connection.get().getVersion()
        return linux.node_facts([number // 1_000_000, number // 1000 % 1000, number % 1000])

    # Power

    def start(self, instance: InstanceSpec, disks: Sequence[DiskDevice], paused: bool) -> None:
        """Start a guest; one that is paused goes on, unless `paused`."""
        domain = self._ours(instance)
        if domain is not None:
            if not paused:
                self._go_on(domain)
            return
        self._check_links(instance)
        xml, remarks = self.domain_xml(instance, disks)
        for remark in remarks:
            _LOG.warn("{instance}: {remark}", instance=instance.name, remark=remark.text)
        self._user_down.forget(instance.uuid)
        if instance.hvparams.get("user_shutdown"):
            self._user_down.watch(instance.name, instance.uuid)
        self._create(xml, instance.name, paused=paused)

    def ask_to_halt(self, name: str, uuid: str) -> bool:
        """Press the power button, or have the guest's agent do it; False without ACPI."""
        domain = self._domain(uuid)
        if domain is None or not self._has_button(domain):
            return False
        self._user_down.expected(uuid)
        with self._connection.errors(f"asking {name} to halt"):
            try:
                self._go_on(domain)
                domain.shutdownFlags(0)
            except self._lv.libvirtError as error:
                if error.get_error_code() not in self._gone:
                    raise
                return False
        return True

    def pull_plug(self, name: str, uuid: str) -> None:
        """End the domain at once."""
        domain = self._domain(uuid)
        self._user_down.forget(uuid)
        if domain is None:
            return
        with self._connection.errors(f"ending {name}"):
            try:
                domain.destroy()
            except self._lv.libvirtError as error:
                if error.get_error_code() not in self._gone:
                    raise
        # The event that tells of the end may come before the plug was seen to be pulled.
        self._user_down.forget(uuid)

    def reset(self, name: str, uuid: str) -> None:
        """Press the reset button."""
        with self._connection.errors(f"resetting {name}"):
            self._running(name, uuid).reset(0)

    def definition(self, name: str, uuid: str) -> str:
        """Give the XML of a running domain, with its passwords."""
        flags = self._lv.VIR_DOMAIN_XML_SECURE | self._lv.VIR_DOMAIN_XML_INACTIVE
        with self._connection.errors(f"reading the definition of {name}"):
            return str(self._running(name, uuid).XMLDesc(flags))

    def start_again(self, definition: str, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> None:
        """Start a domain from the XML that it had, unless it runs; its disks may be called otherwise since."""
        sources = {disk.uuid: source for disk, source in zip(instance.disks, disks, strict=True)}
        definition = with_sources(definition, {f"ua-{device_id('disk', uuid)}": one for uuid, one in sources.items()})
        domain = ET.fromstring(definition)  # noqa: S314 - libvirt's own text
        name, uuid = domain.findtext("name", ""), domain.findtext("uuid", "")
        if self._domain(uuid) is not None:
            return
        mark = domain.find(f"metadata/{{{MARK}}}guest")
        self._user_down.forget(uuid)
        if mark is not None and mark.get("user_shutdown"):
            self._user_down.watch(name, uuid)
        self._create(definition, name, paused=False)

    # Devices of guests that run

    def check_plug(self, instance: InstanceSpec, kind: str) -> None:
        """Refuse, where a subclass does not know better."""
        del kind
        raise self._no_plugging(instance.name)

    def plug_disk(self, instance: InstanceSpec, disk: DiskSpec, source: DiskDevice) -> None:
        """Refuse."""
        del disk, source
        raise self._no_plugging(instance.name)

    def plug_nic(self, instance: InstanceSpec, nic: NicSpec) -> None:
        """Refuse."""
        del nic
        raise self._no_plugging(instance.name)

    def ask_to_unplug(self, name: str, uuid: str, kind: str, device: str) -> bool:
        """Refuse."""
        del uuid, kind, device
        raise self._no_plugging(name)

    def resize_disk(self, name: str, uuid: str, disk: str, size: int) -> None:
        """Refuse."""
        del uuid, disk, size
        raise NodeFailure("unsupported", f"{name} runs, and {self.name} guests are not told of larger disks")

    def _no_plugging(self, name: str) -> NodeFailure:
        text = f"{name} runs, and {self.name} guests are not given other devices while they do"
        return NodeFailure("unsupported", text, hint="--no-hotplug: seen at the next start")

    def watch(self, callback: Callable[[str], None]) -> None:
        """Call back on libvirt's events."""
        self._callbacks.append(callback)

    def console(self, instance: InstanceSpec, node_name: str) -> Console:
        """Say how to reach the serial console: with our own client, on the node."""
        return self._attach(instance, node_name, self._connection.uri(), instance.name)

    # For the subclasses

    def _attach(self, instance: InstanceSpec, node_name: str, *arguments: str) -> Console:
        # Not virsh: it refuses to work without a terminal.
        command = [sys.executable, "-m", console_client.__name__, *arguments]
        return Console(instance=instance.name, kind="ssh", host=node_name, user="root", command=command)

    @property
    def _lv(self) -> Any:
        return self._connection.library

    @property
    def _gone(self) -> frozenset[int]:
        """Give the errors that mean: the domain has ended meanwhile."""
        return frozenset({self._lv.VIR_ERR_NO_DOMAIN, self._lv.VIR_ERR_OPERATION_INVALID})

    def _domain(self, uuid: str) -> Any:
        """Give our active domain, arriving ones too; None if there is none."""
        with self._connection.errors(f"looking for guest {uuid}"):
            connection = self._connection.get()
            try:
                domain = connection.lookupByUUIDString(uuid)
                return domain if domain.isActive() and self._mark(domain) is not None else None
            except self._lv.libvirtError as error:
                if error.get_error_code() == self._lv.VIR_ERR_NO_DOMAIN:
                    return None
                raise

    def _running(self, name: str, uuid: str) -> Any:
        domain = self._domain(uuid)
        if domain is None or self._incoming(domain):
            raise NodeFailure("not_running", f"{name} does not run here")
        return domain

    def _ours(self, instance: InstanceSpec) -> Any:
        """Give the instance's domain; `exists` if a foreign one is in its place."""
        domain = self._domain(instance.uuid)
        if domain is not None:
            return domain
        connection = self._connection.get()
        for look_up, key in ((connection.lookupByName, instance.name), (connection.lookupByUUIDString, instance.uuid)):
            try:
                other = look_up(key)
            except self._lv.libvirtError:
                continue
            raise NodeFailure(
                "exists",
                f"another guest is in the place of {instance.name} here: {other.name()} with UUID {other.UUIDString()}",
                hint="it is not one of ours: remove or rename it",
            )
        return None

    def _mark(self, domain: Any) -> ET.Element | None:
        try:
            return ET.fromstring(domain.metadata(self._lv.VIR_DOMAIN_METADATA_ELEMENT, MARK))  # noqa: S314
        except self._lv.libvirtError:
            return None

    def _facts(self, domain: Any) -> GuestFacts | None:
        """Give what is known of a domain; None if it is foreign, ended meanwhile, or is only arriving."""
        mark = self._mark(domain)
        if mark is None or mark.get("hypervisor") != self.name:
            return None
        try:
            state, _, memory, vcpus, nanoseconds = domain.info()
        except self._lv.libvirtError:
            return None
        word = self._state_word(state)
        if not word or (word == "paused" and self._incoming(domain)):
            return None
        return GuestFacts(
            name=domain.name(),
            uuid=domain.UUIDString(),
            hypervisor=self.name,
            state=word,
            memory=memory // 1024,
            vcpus=vcpus,
            cpu_seconds=nanoseconds / 1e9,
        )

    def _state_word(self, state: int) -> str:
        words = {
            self._lv.VIR_DOMAIN_PAUSED: "paused",
            self._lv.VIR_DOMAIN_PMSUSPENDED: "paused",
            self._lv.VIR_DOMAIN_CRASHED: "crashed",
            self._lv.VIR_DOMAIN_SHUTOFF: "",
        }
        return words.get(state, "running")

    def _incoming(self, domain: Any) -> bool:
        """Say whether a domain is on its way to us; a hypervisor without migration has none."""
        del domain
        return False

    def _has_button(self, domain: Any) -> bool:
        with self._connection.errors("reading a definition"):
            return "<acpi/>" in domain.XMLDesc(0)

    def _go_on(self, domain: Any) -> None:
        with self._connection.errors(f"continuing {domain.name()}"):
            if domain.state()[0] == self._lv.VIR_DOMAIN_PAUSED and not self._incoming(domain):
                domain.resume()

    def _create(self, xml: str, name: str, *, paused: bool) -> None:
        """Create a domain; its interfaces are set up while it is still paused."""
        waits = paused or f"{{{MARK}}}nics" in [e.tag for e in ET.fromstring(xml).iter()]  # noqa: S314 - our own text
        self._make_log_directories(xml)
        with self._connection.errors(f"starting {name}"):
            domain = self._connection.get().createXML(xml, self._lv.VIR_DOMAIN_START_PAUSED if waits else 0)
        if not waits:
            return
        try:
            self._set_up_interfaces(domain)
        except NodeFailure:
            with self._connection.errors(f"ending {name}"):
                domain.destroy()
            raise
        if not paused:
            self._go_on(domain)

    def _make_log_directories(self, xml: str) -> None:
        for log in ET.fromstring(xml).iterfind("devices/serial/log"):  # noqa: S314 - our own text
            directory = self._place.layout.log / self.name
            if log.get("file", "").startswith(f"{directory}/"):
                directory.mkdir(mode=0o750, parents=True, exist_ok=True)

    def _set_up_interfaces(self, domain: Any) -> None:
        """Set up those interfaces that noded looks after, as far as the domain has them: they are in its mark."""
        whole = ET.fromstring(domain.XMLDesc(0))  # noqa: S314 - libvirt's own text
        mark = whole.find(f"metadata/{{{MARK}}}guest")
        text = mark.findtext(f"{{{MARK}}}nics") if mark is not None else None
        if mark is None or not text:
            return
        here = {alias.get("name") for alias in whole.iterfind("devices/interface/alias")}
        tags = mark.findtext(f"{{{MARK}}}tags") or ""
        for nic in msgspec.json.decode(text, type=list[NicSpec]):
            if f"ua-{device_id('nic', nic.uuid)}" in here:
                self._set_up_interface(domain, nic, tags)

    def _set_up_interface(self, domain: Any, nic: NicSpec, tags: str) -> None:
        whole = ET.fromstring(domain.XMLDesc(0))  # noqa: S314 - libvirt's own text
        taps = {
            interface.find("mac").get("address"): interface.find("target").get("dev")  # type: ignore[union-attr]
            for interface in whole.iterfind("devices/interface[@type='ethernet']")
        }
        tap = taps.get(nic.mac.lower())
        if tap is None:
            raise NodeFailure("hypervisor", f"{domain.name()}: libvirt made no device for nic/{nic.index}")
        nic_setup.set_up(nic, tap, domain.name(), tags, nic_setup.own_script(self._place.layout.etc))

    def _check_links(self, instance: InstanceSpec) -> None:
        """See that bridges are there; an administrator's own script may take a link for anything."""
        if nic_setup.own_script(self._place.layout.etc) is not None:
            return
        present = linux.interfaces()
        for nic in instance.nics:
            if nic.mode == "bridged" and nic.link not in present:
                raise NodeFailure(
                    "no_bridge",
                    f"this node has no bridge {nic.link!r} for nic/{nic.index} of {instance.name}",
                    hint="make the bridge, give the interface another link, or the instance no interface",
                )

    def _event(self, uuid: str, event: int, detail: int) -> None:
        library = self._lv
        if event == library.VIR_DOMAIN_EVENT_STOPPED and detail == library.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
            self._user_down.halted(uuid)
        # The reactor is the production clock; a test's has no threads and is called at once.
        to_reactor = getattr(self._place.runtime.clock, "callFromThread", None)
        for callback in self._callbacks:
            if to_reactor is not None:
                to_reactor(callback, uuid)
            else:
                callback(uuid)


def _named(facts: GuestFacts | None, name: str) -> bool:
    return facts is None or facts.name == name
