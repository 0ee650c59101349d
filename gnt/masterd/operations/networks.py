"""Networks: made, changed, renamed, removed, and connected to node groups. `spec/networking-security.md`, section 2."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Operation, executes
from gnt.masterd.plan import Forget, Keep, Note, Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import ALREADY_EXISTS, WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.names import check_mac_prefix, check_name, check_tag
from gnt.model.objects import Instance, Network, NodeGroup
from gnt.model.params import check_nic, nic_problems
from gnt.opcodes.network import (
    NONE,
    NetworkAdd,
    NetworkConnect,
    NetworkDisconnect,
    NetworkRemove,
    NetworkRename,
    NetworkSetParams,
)

LARGEST, SMALLEST = 16, 30


class Pool:
    """The addresses of an IPv4 network, as two strings of bits: given to instances, and reserved for others."""

    def __init__(self, network: Network) -> None:
        self.subnet = ipaddress.IPv4Network(network.network)
        size = self.subnet.num_addresses
        self.given = list(network.reservations.ljust(size, "0"))
        self.reserved = list(network.ext_reservations.ljust(size, "0"))

    def __contains__(self, address: str) -> bool:
        try:
            return ipaddress.ip_address(address) in self.subnet
        except ValueError:
            return False

    def place(self, address: str) -> int:
        """Give the number of an address. Raises `Refused` where it is not in the network."""
        if address not in self:
            raise Refused(WRONG_INPUT, f"{self.subnet} does not contain {address}")
        return int(ipaddress.IPv4Address(address)) - int(self.subnet.network_address)

    def reserve(self, address: str) -> str:
        """Reserve an address for others; says why it cannot be, empty if it could."""
        place = self.place(address)
        if self.given[place] == "1":
            return f"IP {address} is already used by an instance"
        if self.reserved[place] == "1":
            return f"IP {address} is already externally reserved"
        self.reserved[place] = "1"
        return ""

    def free(self, address: str) -> str:
        """Let instances have an address again; says why that cannot be, empty if it could."""
        place = self.place(address)
        if self.reserved[place] != "1":
            return f"IP {address} is not externally reserved"
        self.reserved[place] = "0"
        return ""

    def into(self, network: Network) -> Network:
        """Give the network with these reservations."""
        return replace(network, reservations="".join(self.given), ext_reservations="".join(self.reserved))


def _refuse_taken(cluster: Cluster, name: str) -> str:
    checked = check_name(name, "network")
    if cluster.networks.by_name(checked) is not None:
        raise Refused(ALREADY_EXISTS, f"Network {checked} is already in the cluster", hint="choose another name")
    return checked


def _check_subnet(text: str) -> ipaddress.IPv4Network:
    """Refuse what is too large or too small, and bits beyond the prefix."""
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError:
        whole = ipaddress.IPv4Network(text, strict=False)
        raise Refused(WRONG_INPUT, f"{text} has bits set beyond its prefix", hint=f"it may be {whole}") from None
    if subnet.prefixlen < LARGEST:
        raise Refused(
            WRONG_INPUT, f"A network with {subnet.num_addresses} addresses is too large", hint=f"at most a /{LARGEST}"
        )
    if subnet.prefixlen > SMALLEST:
        raise Refused(
            WRONG_INPUT, f"A network with {subnet.num_addresses} addresses is too small", hint=f"at least a /{SMALLEST}"
        )
    return subnet


def _check_routers(network: Network) -> Network:
    """Refuse routers outside their subnets."""
    if network.gateway is not None:
        Pool(network).place(network.gateway)
    if network.gateway6 is not None:
        if network.network6 is None:
            raise Refused(WRONG_INPUT, "gateway6 needs network6")
        router = ipaddress.IPv6Address(network.gateway6)
        if router not in ipaddress.IPv6Network(network.network6, strict=False) and not router.is_link_local:
            raise Refused(WRONG_INPUT, f"{network.network6} does not contain {network.gateway6}")
    return network


def _cluster_addresses(cluster: Cluster) -> list[tuple[str, str]]:
    """Give the addresses that nodes and the cluster have, each with whose it is."""
    found = [(cluster.settings.master_ip, "the cluster")]
    for node in cluster.sorted_nodes():
        found += [(address, f"node {node.name}") for address in dict.fromkeys((node.primary_ip, node.secondary_ip))]
    return found


@executes(NetworkAdd)
class AddNetwork(Operation[NetworkAdd]):
    """Record a network; its ends, its router and the cluster's own addresses are reserved."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep others from making one of the same name, and the nodes' addresses as they are."""
        _refuse_taken(cluster, self.op.network_name)
        locks = Locks().every(Level.NETWORK, exclusive=True)
        return locks.every(Level.NODE) if self.op.conflicts_check else locks

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it."""
        del seen
        op = self.op
        subnet = _check_subnet(op.network)
        network = _check_routers(
            Network(
                uuid=self.fresh.uuid(),
                name=_refuse_taken(cluster, op.network_name),
                network=str(subnet),
                gateway=op.gateway,
                network6=op.network6,
                gateway6=op.gateway6,
                mac_prefix=check_mac_prefix(op.mac_prefix) if op.mac_prefix else None,
                tags=tuple(dict.fromkeys(map(check_tag, op.tags))),
            )
        )
        pool, notes = Pool(network), []
        for address in (str(subnet[0]), str(subnet[-1]), *((op.gateway,) if op.gateway else ())):
            self._surely(pool.reserve(address))
        for address, whose in _cluster_addresses(cluster) if op.conflicts_check else ():
            problem = pool.reserve(address) if address in pool else ""
            if problem:
                notes.append(Note(f" - WARNING: cannot reserve {address} of {whose}: {problem}"))
        for address in op.add_reserved_ips or ():
            self._surely(pool.reserve(address))
        return Plan((*notes, Keep((pool.into(network),))))

    def _surely(self, problem: str) -> None:
        if problem:
            raise Refused(WRONG_STATE, problem)


@executes(NetworkSetParams)
class ModifyNetwork(Operation[NetworkSetParams]):
    """Change a network's parameters; what is left out stays, `none` takes a value away."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the network."""
        return Locks().exclusive(Level.NETWORK, cluster.network(self.op.network_name).uuid)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it."""
        del seen
        op, network = self.op, cluster.network(self.op.network_name)
        if op.gateway is not None and (op.add_reserved_ips or op.remove_reserved_ips):
            raise Refused(WRONG_INPUT, "The gateway and reserved addresses cannot be changed at once")
        given = {name: getattr(op, name) for name in ("gateway", "network6", "gateway6", "mac_prefix")}
        changes = {name: None if value == NONE else value for name, value in given.items() if value is not None}
        prefix = changes.get("mac_prefix")
        if prefix:
            changes["mac_prefix"] = check_mac_prefix(prefix)
        made = _check_routers(replace(network, **changes))
        pool, notes = Pool(network), list[Note]()
        if "gateway" in changes and made.gateway != network.gateway:
            if network.gateway is not None:
                pool.free(network.gateway)
            if made.gateway is not None:
                problem = pool.reserve(made.gateway)
                if problem:
                    raise Refused(WRONG_STATE, problem)
        notes += self._edits(pool, made)
        made = pool.into(made)
        return Plan((*notes, Keep((made,)))) if made != network else Plan(tuple(notes))

    def _edits(self, pool: Pool, network: Network) -> list[Note]:
        """Reserve and free; what cannot be is told, and does not keep the rest from being done."""
        problems = [pool.reserve(address) for address in self.op.add_reserved_ips or ()]
        for address in self.op.remove_reserved_ips or ():
            if address == network.gateway:
                problems.append(f"IP {address} is the gateway's and stays reserved")
            else:
                problems.append(pool.free(address))
        return [Note(f" - WARNING: {problem}") for problem in problems if problem]


@executes(NetworkRename)
class RenameNetwork(Operation[NetworkRename]):
    """Give a network another name."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock all networks: no other may take the name meanwhile."""
        cluster.network(self.op.network_name)
        return Locks().every(Level.NETWORK, exclusive=True)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it."""
        del seen
        network = cluster.network(self.op.network_name)
        name = _refuse_taken(cluster, self.op.new_name)
        return Plan((Keep((replace(network, name=name),)),), result=name, dry_result=name)


@executes(NetworkRemove)
class RemoveNetwork(Operation[NetworkRemove]):
    """Forget a network that no group is connected to."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the network, and keep the groups as they are."""
        return Locks().every(Level.NODEGROUP).exclusive(Level.NETWORK, cluster.network(self.op.network_name).uuid)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Forget it."""
        del seen
        network = cluster.network(self.op.network_name)
        connected = sorted(group.name for group in cluster.groups.values() if network.uuid in group.networks)
        if connected:
            raise Refused(
                WRONG_STATE,
                f"Network {network.name} is still connected to {' '.join(connected[:5])}",
                hint=f"gnt-network disconnect {network.name}",
            )
        return Plan((Forget((network,)),))


def _in_group(cluster: Cluster, group: NodeGroup) -> list[Instance]:
    return [one for node in cluster.members(group) for one in cluster.instances_on(node.uuid)]


def _refuse_conflict(found: Iterable[str]) -> None:
    listed = sorted(found)
    if listed:
        raise Refused(
            WRONG_STATE,
            f"Interfaces are in the way: {'; '.join(listed[:3])} ({len(listed)} in all)",
            hint="remove or change them first",
        )


@executes(NetworkConnect)
class ConnectNetwork(Operation[NetworkConnect]):
    """Record how the nodes of a group reach a network."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the group; its instances and the network stay as they are."""
        group, network = cluster.group(self.op.group_name), cluster.network(self.op.network_name)
        locks = Locks().exclusive(Level.NODEGROUP, group.uuid)
        if not self.op.conflicts_check:
            return locks
        names = [instance.name for instance in _in_group(cluster, group)]
        return locks.shared(Level.INSTANCE, *names).shared(Level.NETWORK, network.uuid)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it in the group."""
        del seen
        op, group, network = self.op, cluster.group(self.op.group_name), cluster.network(self.op.network_name)
        if network.uuid in group.networks:
            return Plan((Note(f" - WARNING: network {network.name} is connected to group {group.name} already"),))
        given = {"mode": str(op.network_mode), "link": op.network_link, "vlan": op.network_vlan}
        connection = {"vlan": "", **check_nic(given)}
        problems = nic_problems(connection, network=network.uuid)
        if problems:
            raise Refused(WRONG_INPUT, problems[0])
        if op.conflicts_check:
            pool = Pool(network)
            _refuse_conflict(
                f"{instance.name} nic/{index} has {nic.ip}"
                for instance in _in_group(cluster, group)
                for index, nic in enumerate(instance.nics)
                if nic.ip and nic.ip in pool and nic.network != network.uuid
            )
        return Plan((Keep((replace(group, networks={**group.networks, network.uuid: connection}),)),))


@executes(NetworkDisconnect)
class DisconnectNetwork(Operation[NetworkDisconnect]):
    """Forget how the nodes of a group reach a network, once no instance there is in it."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the group; its instances stay as they are."""
        group = cluster.group(self.op.group_name)
        cluster.network(self.op.network_name)
        names = [instance.name for instance in _in_group(cluster, group)]
        return Locks().shared(Level.INSTANCE, *names).exclusive(Level.NODEGROUP, group.uuid)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it in the group."""
        del seen
        group, network = cluster.group(self.op.group_name), cluster.network(self.op.network_name)
        if network.uuid not in group.networks:
            return Plan((Note(f" - WARNING: network {network.name} is not connected to group {group.name}"),))
        _refuse_conflict(
            f"{instance.name} nic/{index} is in {network.name}"
            for instance in _in_group(cluster, group)
            for index, nic in enumerate(instance.nics)
            if nic.network == network.uuid
        )
        left = {uuid: connection for uuid, connection in group.networks.items() if uuid != network.uuid}
        return Plan((Keep((replace(group, networks=left),)),))
