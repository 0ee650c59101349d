"""One Ceph cluster for all these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.noded.hypervisors.libvirt_room import KvmHouse, LibvirtRoom
from tests.real_ceph.ceph import Ceph, why_not


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """Give a running cluster."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    found = Ceph.open()
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="session")
def libvirt_room() -> Iterator[LibvirtRoom]:
    """Give real libvirtds."""
    room = LibvirtRoom.open()
    try:
        yield room
    finally:
        room.close()


@pytest.fixture
def kvm_house(libvirt_room: LibvirtRoom) -> Iterator[KvmHouse]:
    """Give nodes with kvm, empty before and after."""
    house = libvirt_room.house()
    try:
        yield house
    finally:
        house.clear()
