"""How tests are given to workers."""

from __future__ import annotations

import pytest

from tests.side_by_side import ByModule, name_groups


def scope(nodeid: str) -> str:
    """Give what the scheduler keeps together with a test."""
    return object.__new__(ByModule)._split_scope(nodeid)


def test_a_test_goes_with_its_group(request: pytest.FixtureRequest) -> None:
    """What is marked as one group is found as one by the scheduler, which sees nothing of a test but its name."""
    item, name = request.node, request.node._id
    item.add_marker(pytest.mark.xdist_group("machine"))
    try:
        name_groups([item])
        assert scope(item.nodeid) == "machine"
    finally:
        item._id = name


def test_a_test_goes_with_its_module_or_folder() -> None:
    """Without a group: with its module, and with its folder where the modules share what is built."""
    assert scope("tests/model/test_units.py::test_one[a@b]") == "tests/model/test_units.py"
    assert scope("tests/real_ceph/test_images.py::test_one") == "tests/real_ceph"
