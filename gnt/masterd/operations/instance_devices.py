"""New network interfaces, as an opcode describes them: checked, with all addresses chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gnt.masterd.operation import Fresh
from gnt.model.cluster import Cluster
from gnt.model.errors import NOT_UNIQUE, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import check_device_name, check_ip, check_mac
from gnt.model.objects import Nic
from gnt.model.params import check_nic, fill_nic, nic_problems
from gnt.opcodes.parameter_types import NicParams

MAX_NICS: Final = 8
MAC_TRIES: Final = 64

NIC_PARAMETERS: Final = frozenset({"mode", "link", "vlan"})


class NewDevices:
    """Makes interfaces for one instance of a cluster."""

    def __init__(self, cluster: Cluster, fresh: Fresh, *, conflicts_check: bool) -> None:
        self._cluster = cluster
        self._fresh = fresh
        self._conflicts_check = conflicts_check
        self._macs = {nic.mac for instance in cluster.instances.values() for nic in instance.nics}

    # Interfaces

    def nics(self, described: Sequence[NicParams]) -> tuple[Nic, ...]:
        """Make the interfaces. Raises `Refused` naming the interface."""
        if len(described) > MAX_NICS:
            raise Refused(WRONG_INPUT, f"{len(described)} network interfaces are too many: at most {MAX_NICS}")
        return tuple(self.nic(index, nic) for index, nic in enumerate(described))

    def nic(self, index: int, described: NicParams) -> Nic:
        """Make one interface, at this index."""
        if index >= MAX_NICS:
            raise Refused(WRONG_STATE, f"{MAX_NICS} network interfaces are the most there can be")
        where = f"nic/{index}"
        given: dict[str, str] = {key: value for key, value in described.items() if value is not None}
        if "bridge" in given:
            if "link" in given:
                raise Refused(WRONG_INPUT, f"{where}: bridge and link are the same; give one of them")
            given["link"] = given.pop("bridge")
        if given.get("network") not in {None, "none"}:
            self._cluster.network(given["network"])
            raise Unsupported(f"{where}: network is not supported by this version")
        params = check_nic({key: value for key, value in given.items() if key in NIC_PARAMETERS})
        nic = Nic(
            uuid=self._fresh.uuid(),
            mac=self._mac(given.get("mac", "auto"), where),
            ip=self._ip(given.get("ip"), where),
            nicparams=params,
            name=check_device_name(given.get("name"), where),
        )
        filled = fill_nic(self._cluster, None, nic)
        _refuse_first(nic_problems(filled, ip=nic.ip), where)
        self._refuse_used_ip(nic, filled, where)
        return nic

    def _mac(self, given: str, where: str) -> str:
        if given in {"auto", "generate"}:
            mac = self._free_mac()
        else:
            mac = check_mac(given)
            if mac in self._macs:
                raise Refused(
                    NOT_UNIQUE, f"{where}: MAC address {mac} already in use in cluster", hint="mac=auto makes a new one"
                )
        self._macs.add(mac)
        return mac

    def _free_mac(self) -> str:
        for _ in range(MAC_TRIES):
            tail = ":".join(f"{octet:02x}" for octet in self._fresh.octets(3))
            mac = f"{self._cluster.settings.mac_prefix}:{tail}"
            if mac not in self._macs:
                return mac
        raise Refused(NOT_UNIQUE, "Can't generate unique MAC: too many of the prefix are in use")

    def _ip(self, given: str | None, where: str) -> str | None:
        if given is None or given.lower() == "none":
            return None
        if given.lower() == "pool":
            raise Refused(WRONG_INPUT, f"{where}: ip=pool needs a network", hint="network=NAME")
        if given.lower() == "auto":
            raise Unsupported(f"{where}: ip=auto is not supported by this version", hint="give the address")
        return check_ip(given)

    def _refuse_used_ip(self, nic: Nic, filled: Mapping[str, Any], where: str) -> None:
        if nic.ip is None or not self._conflicts_check:
            return
        mine = (filled["mode"], filled["link"], nic.ip)
        for instance in self._cluster.instances.values():
            for other in instance.nics:
                if other.ip != nic.ip:
                    continue
                theirs = fill_nic(self._cluster, None, other)
                if (theirs["mode"], theirs["link"], other.ip) == mine:
                    raise Refused(
                        NOT_UNIQUE, f"{where}: {nic.ip} is already used by {instance.name}", hint="--no-conflicts-check"
                    )


def _refuse_first(problems: Iterable[str], where: str) -> None:
    for problem in problems:
        raise Refused(WRONG_INPUT, f"{where}: {problem}")
