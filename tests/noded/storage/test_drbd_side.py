"""A node's own side of a mirror, and the options that its parameters become."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.noded.storage.drbd_side import disk_options, net_options, side_of, sync_options
from tests.noded.storage.drbd_spec import OWN, PARAMS, PEER, SECRET, mirror_spec, volume


def test_each_node_finds_its_own_side() -> None:
    """Minors and addresses change places."""
    disk = mirror_spec()
    ours, theirs = side_of(disk, OWN), side_of(disk, PEER)
    assert (ours.minor, theirs.minor) == (0, 4)
    assert ours.ends == (("ipv4", "10.98.0.2", 11000), ("ipv4", "10.98.0.3", 11000))
    assert theirs.ends == (ours.ends[1], ours.ends[0])
    assert (theirs.resource, theirs.name) == ("resource4", "drbd4")
    assert [child.logical_id[1] for child in ours.children] == ["data", "meta"]


@pytest.mark.parametrize(
    "changes", [{"addresses": {}}, {"addresses": {OWN: "10.98.0.2"}}, {"logical_id": (OWN, PEER, 0, 0, 4, SECRET)}]
)
def test_a_side_without_port_or_addresses_has_no_connection(changes: dict[str, Any]) -> None:
    """It is made all the same: a new secondary node is, before the configuration knows it."""
    assert side_of(mirror_spec(**changes), OWN).ends is None


@pytest.mark.parametrize(
    ("node", "changes", "names"),
    [
        ("node-c", {}, "node-c"),
        ("", {}, "without a cluster"),
        (OWN, {"logical_id": ("xenvg", "data")}, "two nodes, a port, two minors and a secret"),
        (OWN, {"logical_id": (OWN, PEER, 11000, 256, 4, SECRET)}, "256 is no minor"),
        (OWN, {"logical_id": (OWN, PEER, 11000, -1, 4, SECRET)}, "-1 is no minor"),
        (OWN, {"logical_id": (OWN, PEER, 11000, "0", 4, SECRET)}, "'0' is no minor"),
        (OWN, {"addresses": {OWN: "10.98.0.2", PEER: "fd00::3"}}, "not of one family"),
        (OWN, {"addresses": {OWN: "nowhere", PEER: "fd00::3"}}, "nowhere"),
        (OWN, {"children": (volume("data", 64),)}, "two volumes"),
        (OWN, {"children": (volume("data", 64), mirror_spec())}, "template drbd"),
    ],
)
def test_what_is_no_mirror_here_is_refused(node: str, changes: dict[str, Any], names: str) -> None:
    """Bad input: a line that names it, without the secret."""
    with pytest.raises(NodeFailure, match=names) as caught:
        side_of(mirror_spec(**changes), node)
    assert caught.value.code == "wrong_input"
    assert SECRET not in caught.value.text


def test_nothing_shows_the_secret() -> None:
    """A side may be logged."""
    assert SECRET not in repr(side_of(mirror_spec(), OWN))


# Options


def options(**params: Any) -> dict[str, Any]:
    """Give complete parameters with some changed."""
    return {**PARAMS, **params}


def all_options(params: dict[str, Any]) -> list[str]:
    """Give every option that parameters become."""
    side = side_of(msgspec.structs.replace(mirror_spec(), params=params), OWN)
    return [*disk_options(params), *sync_options(params), *net_options(side, dual=False)]


@pytest.mark.parametrize(
    ("barriers", "words"),
    [
        ("n", []),
        ("b", ["--disk-barrier=no"]),
        ("bf", ["--disk-barrier=no", "--disk-flushes=no"]),
        ("fdb", ["--disk-barrier=no", "--disk-drain=no", "--disk-flushes=no"]),
    ],
)
def test_barriers(barriers: str, words: list[str]) -> None:
    """What the letters switch off."""
    assert disk_options(options(**{"disabled-barriers": barriers})) == ["--on-io-error=detach", *words]


def test_other_options_of_the_disk() -> None:
    """Flushes of the metadata, and the administrator's own words, split as a shell does."""
    given = options(**{"disable-meta-flush": True, "disk-custom": "--al-extents 3389 --comment 'a b'"})
    assert disk_options(given) == [
        "--on-io-error=detach",
        "--md-flushes=no",
        "--al-extents",
        "3389",
        "--comment",
        "a b",
    ]


def test_speed() -> None:
    """A fixed rate, or the kernel's controller with its five figures."""
    assert sync_options(options()) == ["--c-plan-ahead=0", "--resync-rate=61440"]
    assert sync_options(options(**{"dynamic-resync": True})) == [
        *("--c-plan-ahead=20", "--c-fill-target=0", "--c-delay-target=1", "--c-max-rate=61440", "--c-min-rate=4096")
    ]


def test_connection() -> None:
    """Two primaries only with protocol C, whatever is configured."""
    side = side_of(mirror_spec(params={"protocol": "A", "net-custom": "--timeout 30"}), OWN)
    common = ["--after-sb-0pri", "discard-zero-changes", "--after-sb-1pri", "consensus"]
    secret = ["--cram-hmac-alg", "md5", "--shared-secret", SECRET]
    assert net_options(side, dual=False) == ["--protocol", "A", *common, *secret, "--timeout", "30"]
    assert net_options(side, dual=True) == [
        "--protocol",
        "C",
        *common,
        "--allow-two-primaries",
        *secret,
        "--timeout",
        "30",
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"disabled-barriers": "x"},
        {"disabled-barriers": "bn"},
        {"disabled-barriers": ""},
        {"disk-custom": "'open"},
        {"dynamic-resync": True, "c-plan-ahead": 0},
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    """Before anything is run."""
    with pytest.raises(NodeFailure) as caught:
        all_options(options(**given))
    assert caught.value.code == "wrong_input"


@pytest.mark.parametrize(
    "name", ["disabled-barriers", "disable-meta-flush", "resync-rate", "dynamic-resync", "protocol"]
)
def test_missing_parameters_are_refused(name: str) -> None:
    """A description without them is not complete: nothing is guessed."""
    given = {key: value for key, value in PARAMS.items() if key != name}
    with pytest.raises(NodeFailure, match=name):
        all_options(given)


def test_children_are_plain() -> None:
    """The kind is the one that the volumes' template serves."""
    assert {child.dev_type for child in side_of(mirror_spec(), OWN).children} == {DiskTemplate.PLAIN}
