"""Making a cluster out of this machine: authority, certificates, first configuration, daemons.

Everything is checked first; what is made after that is unmade, in reverse, when a later step fails.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

import gnt
from gnt.bootstrap.daemons import ALL, Daemons
from gnt.bootstrap.plain_machine import (
    choose_bridge,
    choose_hypervisor,
    choose_templates,
    emulator,
    has_volume_group,
)
from gnt.bootstrap.this_node import (
    NODED_PORT,
    PUBLIC,
    SECRET,
    allow_storage,
    make_tree,
    own_address,
    put,
    put_membership,
    put_ssconf,
    refuse_busy_port,
    refuse_not_local,
    storage_places,
)
from gnt.daemon.config_view import digest_lines
from gnt.daemon.foreign import refuse_foreign
from gnt.daemon.names import resolve
from gnt.model.cluster import Cluster
from gnt.model.config_data import config_data
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, WRONG_STATE, Failed, Refused, Unsupported
from gnt.model.initial import Identities, new_cluster
from gnt.model.layout import Layout
from gnt.model.names import check_ip, check_name
from gnt.model.objects import DiskTemplate, HypervisorName
from gnt.model.ssconf import ssconf_files
from gnt.store.changes import Entry
from gnt.store.configuration import initial_changes
from gnt.store.vault import FileVault
from gnt.wire import certificates
from gnt.wire.calls import Membership

MINIMUM_VG_HINT: Final = "--vg-name GROUP, or leave out the templates plain and drbd"


class InitRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-cluster init` hands over; None where nothing was given. `plan`: check, and only say what would be."""

    cluster_name: str
    plan: bool = False
    enabled_hypervisors: list[str] | None = None
    enabled_disk_templates: list[str] | None = None
    vg_name: str | None = None
    secondary_ip: str | None = None
    master_netdev: str | None = None
    master_netmask: int | None = None
    use_external_mip_script: bool | None = None
    hvparams: dict[str, dict[str, Any]] | None = None
    beparams: dict[str, Any] | None = None
    nicparams: dict[str, Any] | None = None
    ndparams: dict[str, Any] | None = None
    diskparams: dict[str, dict[str, Any]] | None = None
    ipolicy: dict[str, Any] | None = None
    candidate_pool_size: int | None = None
    mac_prefix: str | None = None
    file_storage_dir: str | None = None
    shared_file_storage_dir: str | None = None
    gluster_storage_dir: str | None = None
    drbd_helper: str | None = None
    default_iallocator: str | None = None
    default_iallocator_params: dict[str, Any] | None = None
    maintain_node_health: bool | None = None
    uid_pool: list[tuple[int, int]] | None = None
    primary_ip_version: int | None = None
    prealloc_wipe_disks: bool | None = None
    modify_etc_hosts: bool | None = None
    modify_ssh_setup: bool | None = None
    install_image: str | None = None
    zeroing_image: str | None = None
    compression_tools: list[str] | None = None
    enabled_user_shutdown: bool | None = None
    ssh_key_type: str | None = None
    ssh_key_bits: int | None = None
    hv_state: dict[str, Any] | None = None
    disk_state: dict[str, Any] | None = None


# Given as they are, they become settings of the same name.
_SETTINGS: Final = (
    "master_netmask",
    "candidate_pool_size",
    "mac_prefix",
    "file_storage_dir",
    "shared_file_storage_dir",
    "compression_tools",
    "enabled_user_shutdown",
    "uid_pool",
)
# What this version does not carry out; a value that changes nothing is taken.
_UNSUPPORTED: Final = {
    "use_external_mip_script": False,
    "gluster_storage_dir": "",
    "drbd_helper": "",
    "default_iallocator": "",
    "default_iallocator_params": {},
    "maintain_node_health": False,
    "prealloc_wipe_disks": False,
    "install_image": "",
    "zeroing_image": "",
    "hv_state": {},
    "disk_state": {},
    "ssh_key_type": None,
    "ssh_key_bits": None,
}


class ClusterInit:
    """Makes a cluster of one node; `say` tells what is being done."""

    def __init__(
        self,
        request: InitRequest,
        layout: Layout,
        host: str,
        say: Callable[[str], None],
        *,
        daemons: Daemons | None = None,
        source: random.Random | None = None,
        now: Callable[[], float] = time.time,
        check_port: Callable[[str], None] = refuse_busy_port,
        find_group: Callable[[str], bool] | None = None,
    ) -> None:
        self._request = request
        self._layout = layout
        self._host = host
        self._say = say
        self._source = source or random.SystemRandom()
        self._now = now
        self._check_port = check_port
        self._find_group = find_group
        self._daemons = daemons or Daemons(layout, os.environ)
        self._chosen_bridge = ""

    def run(self) -> dict[str, Any]:
        """Check, make, start. Raises `Refused` before anything is made, `Failed` after all was unmade."""
        self._refuse_existing()
        self._refuse_unsupported()
        self._daemons.refuse_long_sockets()
        address = own_address(self._layout, self._host, version=self._request.primary_ip_version)
        secondary = self._secondary(address)
        cluster_address = self._cluster_address(address)
        self._check_port(address)
        cluster = self._configuration(address, secondary, cluster_address)
        if self._request.plan:
            return {"plan": self._steps(cluster)}
        with ExitStack() as undo:
            cluster = self._make_files(undo, cluster, address)
            self._start(undo, address)
            undo.pop_all()
        return {"cluster": cluster.settings.cluster_name, "master": self._host, "uuid": cluster.settings.uuid}

    # Checks

    def _refuse_existing(self) -> None:
        for path in (self._layout.config_db, self._layout.node_pem, self._layout.authority_certificate):
            if path.exists():
                raise Refused(
                    WRONG_STATE,
                    f"This node belongs to a cluster already: {path} exists",
                    hint="gnt-cluster info; gnt-cluster destroy ends it",
                )
        refuse_foreign(self._layout)

    def _refuse_unsupported(self) -> None:
        for name, harmless in _UNSUPPORTED.items():
            if getattr(self._request, name) not in (None, harmless):
                raise Unsupported(f"gnt-cluster init: {name} is not supported by this version")
        for name, what in (("modify_etc_hosts", "/etc/hosts"), ("modify_ssh_setup", "SSH keys")):
            if getattr(self._request, name):
                raise Unsupported(f"gnt-cluster init: {name} is not supported by this version: it leaves {what} alone")

    def _secondary(self, primary: str) -> str:
        given = self._request.secondary_ip
        if given is None:
            return primary
        secondary = check_ip(given, family=4)
        refuse_not_local(self._layout, secondary, "secondary address")
        return secondary

    def _cluster_address(self, own: str) -> str:
        """Give the cluster's address; without one of its own it is reached at the master's."""
        name = check_name(self._request.cluster_name, "cluster")
        if name == self._host:
            raise Refused(WRONG_INPUT, f"{name} is the name of this node", hint="give the cluster a name of its own")
        try:
            address = resolve(self._layout, name)
        except Refused:
            self._say(f"{name} does not resolve: the cluster has no address of its own and is reached at {own}")
            return own
        if address != own:
            self._say(f"the cluster has an address of its own, {address}, which its master raises")
        return address

    # The configuration

    def _configuration(self, address: str, secondary: str, cluster_address: str) -> Cluster:
        request = self._request
        hypervisors = request.enabled_hypervisors or [choose_hypervisor(self._say)]
        volume_group = self._volume_group()
        settings: dict[str, Any] = {
            "master_ip": cluster_address,
            "master_netdev": request.master_netdev or self._bridge(hypervisors),
            "file_storage_dir": str(self._layout.default_file_storage()),
            "shared_file_storage_dir": str(self._layout.default_shared_file_storage()),
            "gluster_storage_dir": "",
            "modify_etc_hosts": False,
            "modify_ssh_setup": False,
        }
        settings |= {name: getattr(request, name) for name in _SETTINGS if getattr(request, name) is not None}
        for name in ("file_storage_dir", "shared_file_storage_dir"):
            if settings[name] and not Path(settings[name]).is_absolute():
                raise Refused(WRONG_INPUT, f"{name} {settings[name]} is not an absolute path")
        # Each node has its own file disks; shared ones are where the first node has them.
        settings["file_storage_dir"] = self._layout.recorded(settings["file_storage_dir"])
        return new_cluster(
            name=request.cluster_name,
            node_name=self._host,
            primary_ip=address,
            secondary_ip=secondary,
            identities=Identities(cluster=self._uuid(), node=self._uuid(), group=self._uuid()),
            now=self._now(),
            enabled_hypervisors=hypervisors,
            enabled_disk_templates=request.enabled_disk_templates or choose_templates(volume_group),
            volume_group_name=volume_group,
            hvparams=self._hvparams(hypervisors),
            beparams=request.beparams or {},
            nicparams=self._nicparams(hypervisors),
            ndparams=request.ndparams or {},
            diskparams=request.diskparams or {},
            ipolicy=request.ipolicy or {},
            settings=settings,
        )

    def _volume_group(self) -> str | None:
        wanted = self._request.vg_name
        needs_one = {DiskTemplate.PLAIN, DiskTemplate.DRBD} & set(self._request.enabled_disk_templates or ())
        if wanted == "":
            return None
        name = wanted or "xenvg"
        if (self._find_group or has_volume_group)(name):
            return name
        if wanted is not None or needs_one:
            raise Refused(ENVIRONMENT, f"There is no volume group {name} on this node", hint=MINIMUM_VG_HINT)
        return None

    def _hvparams(self, hypervisors: list[str]) -> dict[str, dict[str, Any]]:
        given = {name: dict(params) for name, params in (self._request.hvparams or {}).items()}
        if HypervisorName.KVM in hypervisors:
            # The built-in path of the emulator is one distribution's; take what this machine has.
            path = emulator()
            if path is not None:
                given.setdefault("kvm", {}).setdefault("kvm_path", path)
            # The built-in kernel exists on no plain machine: without one, guests boot from their disks.
            given.setdefault("kvm", {}).setdefault("kernel_path", "")
        return given

    def _nicparams(self, hypervisors: list[str]) -> dict[str, Any]:
        given = dict(self._request.nicparams or {})
        if "link" not in given and given.get("mode", "bridged") == "bridged":
            given["link"] = self._bridge(hypervisors)
        return given

    def _bridge(self, hypervisors: list[str]) -> str:
        """Choose a bridge once, and say so once; fake guests need none."""
        if not self._chosen_bridge:
            silent = set(hypervisors) == {HypervisorName.FAKE} or "link" in (self._request.nicparams or {})
            self._chosen_bridge = choose_bridge((lambda _text: None) if silent else self._say)
        return self._chosen_bridge

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))

    # Making

    def _steps(self, cluster: Cluster) -> list[str]:
        """Say what would be made, with what was chosen for it."""
        layout, settings, node = self._layout, cluster.settings, cluster.master
        places = [settings.file_storage_dir, settings.shared_file_storage_dir]
        chosen = [
            f"hypervisors {' '.join(settings.enabled_hypervisors)}",
            f"disk templates {' '.join(settings.enabled_disk_templates)}",
            *([f"volume group {settings.volume_group_name}"] if settings.volume_group_name else []),
            *([f"files in {' '.join(filter(None, places))}"] if any(places) else []),
        ]
        raised = settings.master_ip != node.primary_ip
        return [
            f"{layout.data}: an authority of its own for {settings.cluster_name}, certificates of {node.name}",
            f"{layout.config_db}: {node.name} ({node.primary_ip}) as master and first node; {'; '.join(chosen)}",
            f"start {' '.join(ALL)}",
            *([f"raise the cluster's address {settings.master_ip} on {settings.master_netdev}"] if raised else []),
        ]

    def _make_files(self, undo: ExitStack, cluster: Cluster, address: str) -> Cluster:
        """Write certificates, the store and the views of it; gives the configuration with its certificate."""
        layout, settings, now = self._layout, cluster.settings, self._now()
        storage = storage_places(layout, settings.file_storage_dir, settings.shared_file_storage_dir)
        make_tree(undo, layout, storage)
        allow_storage(undo, layout, storage, self._say)
        self._say("making the cluster's authority and the certificates")
        authority = certificates.make_authority(settings.cluster_name, now=now, source=self._source)
        key = certificates.make_key()
        node = cluster.master
        signed = certificates.sign_node(
            authority,
            certificates.make_request(key, node.name),
            name=node.name,
            uuid=node.uuid,
            addresses=sorted({node.primary_ip, node.secondary_ip}),
            now=now,
            source=self._source,
        )
        rapi = certificates.make_rapi(
            authority,
            cluster_name=settings.cluster_name,
            names=[settings.cluster_name, node.name],
            addresses=sorted({address, settings.master_ip}),
            now=now,
            source=self._source,
        )
        self._write_secrets(undo, authority, certificates.Identity(signed, key), rapi)
        digest = certificates.digest(signed)
        settings = msgspec.structs.replace(settings, candidate_certs={node.uuid: digest})
        cluster = cluster.put(settings)
        self._say("writing the first configuration")
        self._write_store(undo, cluster, now)
        self._write_views(undo, cluster, digest)
        return cluster

    def _write_secrets(
        self,
        undo: ExitStack,
        authority: certificates.Identity,
        node: certificates.Identity,
        rapi: certificates.Identity,
    ) -> None:
        layout = self._layout
        put(undo, layout.authority_certificate, authority.certificate, PUBLIC)
        put(undo, layout.authority_key, authority.key, SECRET)
        put(undo, layout.node_pem, node.pem(), SECRET)
        if layout.rapi_pem.exists():
            self._say(f"keeping {layout.rapi_pem}")
        else:
            put(undo, layout.rapi_pem, rapi.pem(), SECRET)

    def _write_store(self, undo: ExitStack, cluster: Cluster, now: float) -> None:
        vault = FileVault(self._layout.config_db)
        undo.callback(vault.release)
        vault.hold("gnt-cluster init")
        database = vault.create(cluster.settings.uuid)
        changes = initial_changes(cluster)
        first = Position(epoch=Epoch(number=1, node=cluster.settings.master_node), serial=1)
        database.append(START, [Entry(position=first, time=now, changes=changes, jobs=(0,) * len(changes))])
        database.mark_committed(1)
        database.close()
        vault.release()

    def _write_views(self, undo: ExitStack, cluster: Cluster, digest: str) -> None:
        layout, node = self._layout, cluster.master
        membership = Membership(
            cluster_name=cluster.settings.cluster_name,
            cluster_uuid=cluster.settings.uuid,
            node_uuid=node.uuid,
            node_name=node.name,
            position=Position(epoch=Epoch(number=1, node=node.uuid), serial=1),
            candidates={node.uuid: digest},
        )
        put_membership(undo, layout, membership)
        view = msgspec.json.encode(config_data(cluster))
        put(undo, layout.config_digest, digest_lines(layout, view).encode(), SECRET)
        put(undo, layout.config_data, view, SECRET)
        put_ssconf(undo, layout, ssconf_files(cluster, gnt.__version__))

    def _start(self, undo: ExitStack, address: str) -> None:
        undo.callback(self._stop_all)
        self._say("starting the daemons")
        self._daemons.start_all()
        self._daemons.wait_for_noded(address, NODED_PORT)
        self._daemons.wait_for_masterd()

    def _stop_all(self) -> None:
        """End what was started; that one does not end must not hide why we are here."""
        for name in reversed(ALL):
            try:
                self._daemons.stop(name)
            except Failed as error:
                self._say(error.text)
