"""Networks: their addresses, their routers, and the groups that reach them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.model.objects import Network, Nic
from tests.masterd.operations.ground import Ground


def network(ground: Ground, name: str = "net1") -> Network:
    """Give a network."""
    return ground.journal.head.network(name)


def reserved(found: Network) -> list[int]:
    """Give the places of the addresses that are reserved."""
    return [place for place, bit in enumerate(found.ext_reservations) if bit == "1"]


def with_network(**more: Any) -> Ground:
    """Give a cluster with a network that has none of the nodes' addresses in it."""
    ground = Ground()
    end = ground.run("OP_NETWORK_ADD", network_name="net1", network="198.51.100.0/28", **more)
    assert end.error is None, end.error
    return ground


def test_a_network_reserves_its_ends_its_router_and_what_is_asked_for() -> None:
    """One bit for each address."""
    ground = with_network(gateway="198.51.100.1", add_reserved_ips=["198.51.100.5"], mac_prefix="AA:00:07", tags=["x"])
    made = network(ground)
    assert reserved(made) == [0, 1, 5, 15]
    assert len(made.reservations) == len(made.ext_reservations) == 16
    assert (made.gateway, made.mac_prefix, made.tags) == ("198.51.100.1", "aa:00:07", ("x",))


def test_the_clusters_own_addresses_are_reserved_unless_that_is_not_wanted() -> None:
    """What cannot be reserved twice is told."""
    ground = Ground(master_ip="192.0.2.77")
    ground.run("OP_NETWORK_ADD", network_name="lan", network="192.0.2.0/24", gateway="192.0.2.1")
    assert reserved(network(ground, "lan")) == [0, 1, 2, 3, 77, 255]
    assert any("cannot reserve 192.0.2.1 of node node1" in line for line in ground.said)
    ground.run("OP_NETWORK_ADD", network_name="lan2", network="192.0.2.0/24", conflicts_check=False)
    assert reserved(network(ground, "lan2")) == [0, 255]


def test_the_router_changes_and_leaves_its_address() -> None:
    """The word none takes it away."""
    ground = with_network(gateway="198.51.100.1")
    assert ground.run("OP_NETWORK_SET_PARAMS", network_name="net1", gateway="198.51.100.2").error is None
    assert (network(ground).gateway, reserved(network(ground))) == ("198.51.100.2", [0, 2, 15])
    assert ground.run("OP_NETWORK_SET_PARAMS", network_name="net1", gateway="none").error is None
    assert (network(ground).gateway, reserved(network(ground))) == (None, [0, 15])


def test_addresses_are_reserved_and_freed_as_far_as_they_can_be() -> None:
    """The rest is told: used, reserved or free already, the router's."""
    ground = with_network(gateway="198.51.100.1")
    bits = list(network(ground).reservations)
    bits[7] = "1"
    ground.journal.head = ground.journal.head.put(replace(network(ground), reservations="".join(bits)))
    end = ground.run(
        "OP_NETWORK_SET_PARAMS",
        network_name="net1",
        add_reserved_ips=["198.51.100.6", "198.51.100.7"],
        remove_reserved_ips=["198.51.100.9", "198.51.100.1"],
    )
    assert end.error is None
    assert reserved(network(ground)) == [0, 1, 6, 15]
    said = "\n".join(ground.said)
    assert "198.51.100.7 is already used by an instance" in said
    assert "198.51.100.9 is not externally reserved" in said
    assert "198.51.100.1 is the gateway's" in said


@pytest.mark.parametrize(
    ("op_id", "parameters", "text"),
    [
        ("OP_NETWORK_ADD", {"network_name": "net1", "network": "10.0.0.0/24"}, "already_exists"),
        ("OP_NETWORK_ADD", {"network_name": "x", "network": "10.0.0.1/24"}, "bits set beyond its prefix"),
        ("OP_NETWORK_ADD", {"network_name": "x", "network": "10.0.0.0/15"}, "too large"),
        ("OP_NETWORK_ADD", {"network_name": "x", "network": "10.0.0.0/31"}, "too small"),
        (
            "OP_NETWORK_ADD",
            {"network_name": "x", "network": "10.0.0.0/24", "gateway": "10.0.1.1"},
            "10.0.0.0/24 does not contain 10.0.1.1",
        ),
        (
            "OP_NETWORK_ADD",
            {"network_name": "x", "network": "10.0.0.0/24", "gateway6": "2001:db8::1"},
            "gateway6 needs network6",
        ),
        (
            "OP_NETWORK_SET_PARAMS",
            {"network_name": "net1", "gateway": "198.51.100.3", "add_reserved_ips": ["198.51.100.4"]},
            "cannot be changed at once",
        ),
        ("OP_NETWORK_SET_PARAMS", {"network_name": "net1", "gateway": "198.51.100.15"}, "already externally reserved"),
        ("OP_NETWORK_RENAME", {"network_name": "net1", "new_name": "net1"}, "already_exists"),
        ("OP_NETWORK_REMOVE", {"network_name": "net9"}, "net9 is not a network"),
        (
            "OP_NETWORK_CONNECT",
            {"network_name": "net1", "group_name": "default", "network_mode": "bridged", "network_link": "a b"},
            "not a bridge",
        ),
    ],
)
def test_what_is_refused(op_id: str, parameters: dict[str, Any], text: str) -> None:
    """In one line, and nothing is changed."""
    assert text in with_network().refused(op_id, **parameters)


CONNECT = {"network_name": "net1", "group_name": "default", "network_mode": "bridged", "network_link": "br7"}


def test_a_network_is_connected_and_disconnected() -> None:
    """Twice is told and changes nothing; while it is connected it is not removed."""
    ground = with_network()
    assert ground.run("OP_NETWORK_CONNECT", **CONNECT, network_vlan="5").error is None
    connected = ground.journal.head.group("default").networks
    assert connected == {network(ground).uuid: {"mode": "bridged", "link": "br7", "vlan": ".5"}}
    assert ground.run("OP_NETWORK_CONNECT", **CONNECT).error is None
    assert any("is connected to group default already" in line for line in ground.said)
    assert "still connected to default" in ground.refused("OP_NETWORK_REMOVE", network_name="net1")
    for _ in range(2):
        assert ground.run("OP_NETWORK_DISCONNECT", network_name="net1", group_name="default").error is None
    assert any("is not connected" in line for line in ground.said)
    assert ground.run("OP_NETWORK_RENAME", network_name="net1", new_name="net2").result == "net2"
    assert ground.run("OP_NETWORK_REMOVE", network_name="net2").error is None
    assert not ground.journal.head.networks


def test_interfaces_are_in_the_way() -> None:
    """An address of the network outside it, and an interface in it."""
    ground = with_network()
    ground.add()
    instance = ground.journal.head.instance("web1")

    def nic(**more: Any) -> None:
        made = Nic(uuid="n", mac="aa:00:00:00:00:01", **more)
        ground.journal.head = ground.journal.head.put(replace(instance, nics=(made,)))

    nic(ip="198.51.100.4")
    assert "web1 nic/0 has 198.51.100.4" in ground.refused("OP_NETWORK_CONNECT", **CONNECT)
    assert ground.run("OP_NETWORK_CONNECT", **CONNECT, conflicts_check=False).error is None
    nic(network=network(ground).uuid)
    said = ground.refused("OP_NETWORK_DISCONNECT", network_name="net1", group_name="default")
    assert "web1 nic/0 is in net1" in said
