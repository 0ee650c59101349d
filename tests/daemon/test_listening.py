"""Ports, and sockets that listen."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from gnt.daemon.listening import NODED_PORT, listen, noded_port, service_port
from gnt.model.errors import Refused


def test_a_service_that_nobody_has_named_has_its_own_port() -> None:
    """The services database is asked first."""
    assert service_port("no-such-service-anywhere", 4711) == 4711
    assert service_port("https", 1) == 443


def test_node_daemons_have_one_port_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens and whoever connects asks here, so that an entry in the services database moves both."""
    monkeypatch.setattr(socket, "getservbyname", lambda name, kind: {("ganeti-noded", "tcp"): 1999}[name, kind])
    assert noded_port() == 1999
    assert NODED_PORT == 1811


def test_all_addresses_are_of_both_kinds() -> None:
    """An IPv4 client comes through a socket that listens everywhere."""
    with closing(listen("", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            assert listening.accept()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_one_address_is_only_that(address: str) -> None:
    """The socket does not block, and ends with the programs that are started."""
    if ":" in address and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listening = listen(address, 0)
    except Refused:
        pytest.skip(f"this machine has no {address}")
    with closing(listening):
        assert listening.getsockname()[0] == address
        assert not listening.getblocking()
        assert not listening.get_inheritable()


def test_a_place_that_is_taken_is_named() -> None:
    """Address and port, and what the system says."""
    with closing(listen("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(Refused, match=rf"Cannot listen on 127\.0\.0\.1 port {port}: Address already in use"):
            listen("127.0.0.1", port)
