"""Sizes and names as people write them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.names import check_ip, check_mac, check_mac_prefix, check_name, looks_like_uuid, nice_key
from gnt.model.units import EIB, check_disk_size, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        *(("512", 512), ("512m", 512), ("512MiB", 512), ("512 mb", 512), ("4G", 4096), ("1gib", 1024), ("1T", 1048576)),
        *(("1.5g", 1536), ("1", 4), ("130", 132), ("0.1g", 104), ("0", 0), (".5g", 512), (" 2g ", 2048)),
        *((130, 130), (0, 0)),
    ],
)
def test_sizes_are_read(text: str | int, mib: int) -> None:
    """Units in any case; a text is rounded up to 4 MiB, a number of JSON stays."""
    assert parse_size(text) == mib


@pytest.mark.parametrize(
    "text", ["", "g", "4p", "4 gg", "1.2.3", "-5", "4ib", "4b", "4g4", "0x10", "٣", "1e3", "." * 99]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """The field is named and the remedy is there."""
    with pytest.raises(Refused, match=r"disk 0 .*not a size") as caught:
        parse_size(text, "disk 0")
    assert caught.value.code == WRONG_INPUT
    assert caught.value.hint


@pytest.mark.parametrize("size", [EIB, "1048576t", "99999999999t", "9" * 30])
def test_an_absurd_size_is_refused(size: str | int) -> None:
    """One EiB and more, also numbers too long to print."""
    with pytest.raises(Refused, match="absurd") as caught:
        parse_size(size)
    assert len(caught.value.text) < 100


def test_a_number_too_long_to_print_is_refused_too() -> None:
    """The text of the refusal does not hold it."""
    with pytest.raises(Refused, match="absurd: a number beyond measure"):
        parse_size(10**6000)


def test_a_disk_has_a_size() -> None:
    """Zero and less are refused for disks."""
    with pytest.raises(Refused, match="disk size is 0"):
        check_disk_size(0)
    with pytest.raises(Refused, match="disk size is 0"):
        check_disk_size("0g")
    with pytest.raises(Refused, match="disk size is negative"):
        check_disk_size(-1)
    assert check_disk_size("1g") == 1024
    assert check_disk_size(EIB - 1) == EIB - 1


@pytest.mark.parametrize(
    ("mib", "unit", "text"),
    [
        *((512, "h", "512M"), (1024, "h", "1.0G"), (1536, "h", "1.5G"), (1048576, "h", "1.0T"), (1023, "h", "1023M")),
        *((1536, "m", "1536"), (1536, "g", "1.5"), (1536, "t", "0.0"), (2097152, "t", "2.0")),
    ],
)
def test_sizes_are_shown(mib: int, unit: str, text: str) -> None:
    """Only the automatic unit has a letter."""
    assert format_size(mib, unit) == text


def test_an_unknown_unit_is_refused() -> None:
    """There are four."""
    with pytest.raises(Refused, match="'k' is not a unit"):
        format_size(1, "k")


@given(st.integers(0, EIB - 1))
def test_whole_mib_round_trip(mib: int) -> None:
    """What is shown in MiB is read as the same, up to the granularity of 4 MiB."""
    if mib < EIB - 4:
        assert parse_size(format_size(mib, "m")) - mib in range(4)


@pytest.mark.parametrize("kind", ["cluster", "node", "instance", "group", "network", "disk"])
@pytest.mark.parametrize(
    "name", ["", "../etc", "a/b", "a..b", "-rf", ".hidden", "a" * 256, "a b", "a\0b", "a\nb", "ä", "x;y"]
)
def test_a_dangerous_name_is_refused(kind: str, name: str) -> None:
    """For no kind may a name leave a directory, look like an option, or hold what a shell would read."""
    with pytest.raises(Refused, match=f"{kind} name") as caught:
        check_name(name, kind)
    assert caught.value.code == WRONG_INPUT
    assert len(caught.value.text) < 400


@pytest.mark.parametrize("name", ["a.-b", "a-.b", "a" * 64, "a.b..", "."])
def test_a_host_name_has_sound_parts(name: str) -> None:
    """Parts do not begin or end with a dash and have at most 63 characters."""
    with pytest.raises(Refused):
        check_name(name, "instance")


def test_names_are_stored_as_hosts_have_them() -> None:
    """Lower case without a final dot; groups keep their case."""
    assert check_name("Web1.Example.COM.", "instance") == "web1.example.com"
    assert check_name("web_1", "node") == "web_1"
    assert check_name("Rack-A.1", "group") == "Rack-A.1"


def test_no_name_looks_like_a_uuid() -> None:
    """It could not be told from one."""
    uuid = "6f2a7c1e-0000-4000-8000-0123456789ab"
    assert looks_like_uuid(uuid.upper())
    with pytest.raises(Refused, match="UUID"):
        check_name(uuid, "group")


def test_tags() -> None:
    """Their own characters, 1 to 128 of them."""
    assert check_name("htools:iextags:a/b@c+*", "tag") == "htools:iextags:a/b@c+*"
    for tag in ("", "x" * 129, "a b", "a,b", "ä"):
        with pytest.raises(Refused, match="tag"):
            check_name(tag, "tag")


def test_macs() -> None:
    """Six octets in lower case, no group address; prefixes have three."""
    assert check_mac("AA:00:00:1f:00:FF") == "aa:00:00:1f:00:ff"
    assert check_mac_prefix("AA:00:0b") == "aa:00:0b"
    for mac in ("", "aa:00:00", "aa-00-00-00-00-00", "ag:00:00:00:00:00", "ab:00:00:00:00:00", "aa:00:00:00:00:00\n"):
        with pytest.raises(Refused, match="MAC"):
            check_mac(mac)
    for prefix in ("aa:00", "01:00:00", "aa:00:00:00"):
        with pytest.raises(Refused, match="MAC prefix"):
            check_mac_prefix(prefix)


def test_addresses() -> None:
    """Both families, in their usual form; one may be asked for."""
    assert check_ip("192.0.2.1") == "192.0.2.1"
    assert check_ip("2001:DB8:0::1") == "2001:db8::1"
    for text, family in (("192.0.2.256", None), ("", None), ("node1", None), ("192.0.2.1", 6), ("::1", 4)):
        with pytest.raises(Refused, match="address"):
            check_ip(text, family=family)


def test_names_sort_as_people_count() -> None:
    """node2 comes before node10."""
    names = ["node1", "node2", "node10", "node10.a", "web1-2", "web1-10", "web02"]
    shuffled = list(names)
    random.Random(1).shuffle(shuffled)  # noqa: S311  # a fixed order that is not the answer
    assert sorted(shuffled, key=nice_key) == ["node1", "node2", "node10", "node10.a", "web1-2", "web1-10", "web02"]


@given(st.lists(st.text(max_size=6)))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    """The order is total and does not depend on where it starts."""
    backwards = names[::-1]
    assert sorted(names, key=nice_key) == sorted(backwards, key=nice_key)
