"""What DRBD says, read from the recorded words of a real kernel (8.4.11) and of drbdsetup (9.22)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model.errors import NodeFailure
from gnt.noded.storage.drbd_log import KernelLog, is_split
from gnt.noded.storage.drbd_show import Setup, parse_show
from gnt.noded.storage.drbd_status import KernelStatus, MinorStatus, parse_status

DATA = Path(__file__).parent / "drbd_data"


def said(name: str) -> str:
    """Give a recorded text."""
    return (DATA / name).read_text()


def minor(name: str, number: int = 0) -> MinorStatus:
    """Give one minor of a recorded /proc/drbd."""
    return parse_status(said(name)).minor(number)


# /proc/drbd


def test_version_and_no_minors() -> None:
    """A module that was just loaded names itself, and nothing else; a minor that it does not name is not in use."""
    status = parse_status(said("proc-none"))
    assert status == KernelStatus(version="8.4.11 (api:1/proto:86-101)", minors={})
    assert not status.minor(5).in_use


@pytest.mark.parametrize(
    ("name", "words", "degraded", "local"),
    [
        ("proc-in-sync", "Connected Primary/Secondary UpToDate/UpToDate", False, "ok"),
        ("proc-two-primaries", "Connected Primary/Primary UpToDate/UpToDate", False, "ok"),
        ("proc-new", "Connected Secondary/Secondary Inconsistent/Inconsistent", True, "unknown"),
        ("proc-waiting", "WFConnection Secondary/Unknown UpToDate/DUnknown", True, "ok"),
        ("proc-alone", "StandAlone Primary/Unknown UpToDate/DUnknown", True, "faulty"),
        ("proc-diskless", "Connected Secondary/Primary Diskless/UpToDate", True, "faulty"),
        ("proc-target", "SyncTarget Secondary/Primary Inconsistent/UpToDate", True, "syncing"),
        ("proc-source", "SyncSource Secondary/Primary UpToDate/Inconsistent", True, "ok"),
    ],
)
def test_states(name: str, words: str, degraded: bool, local: str) -> None:
    """The kernel's words, and what they mean: spec/storage.md, section 4.2."""
    found = minor(name)
    assert f"{found.connection} {found.role}/{found.peer_role} {found.disk}/{found.peer_disk}" == words
    assert (found.degraded, found.local_status) == (degraded, local)
    assert found.in_use


def test_what_needs_no_look_at_the_details() -> None:
    """Alone, trying, without data on either side, without a disk: each said by the states that mean it."""
    assert [minor(f"proc-{name}").alone for name in ("alone", "waiting", "in-sync")] == [True, False, False]
    assert [minor(f"proc-{name}").trying for name in ("alone", "waiting", "in-sync")] == [False, True, False]
    assert [minor(f"proc-{name}").nobody_has_data for name in ("new", "target", "in-sync")] == [True, False, False]
    assert [minor(f"proc-{name}").has_disk for name in ("diskless", "new", "unconfigured")] == [False, True, False]
    assert not minor("proc-unconfigured").in_use


@pytest.mark.parametrize(
    ("name", "percent", "finish", "speed", "behind"),
    [
        ("proc-target", 11.8, 63.0, 948, 63640),
        ("proc-finishes", 100.0, 0.0, 4676, 72),
        # About to begin: a resync without a figure is at 0 per cent.
        ("proc-begins", 0.0, None, None, 65536),
        ("proc-in-sync", None, None, None, 0),
    ],
)
def test_progress(name: str, percent: float | None, finish: float | None, speed: int | None, behind: int) -> None:
    """How far, how long still (seconds), how fast (KiB/s), how much still (KiB)."""
    found = minor(name)
    assert (found.sync_percent, found.estimated_time, found.speed, found.behind) == (percent, finish, speed, behind)


def test_many_minors() -> None:
    """Each has its own lines, with gaps between the numbers; a paused resync is one without a figure."""
    status = parse_status(said("proc-many"))
    assert sorted(status.minors) == [0, 3, 7, 9]
    assert (status.minor(0).sync_percent, status.minor(0).speed) == (29.5, 4016)
    assert (status.minor(3).sync_percent, status.minor(3).estimated_time) == (0.0, None)
    assert status.minor(7).alone
    assert not status.minor(9).in_use


def test_long_times_and_large_numbers() -> None:
    """Hours have as many digits as they need, speeds their commas."""
    text = said("proc-target").replace("0:01:03", "126:04:12").replace("speed: 948", "speed: 1,234,567")
    found = parse_status(text).minor(0)
    assert (found.estimated_time, found.speed) == (126 * 3600 + 4 * 60 + 12, 1234567)


@pytest.mark.parametrize("version", ["9.1.7 (api:2/proto:86-120)", "8.3.11 (api:88/proto:86-96)", "8.40"])
def test_another_drbd_is_refused(version: str) -> None:
    """Its commands are others: the text says what is loaded, and what is wanted."""
    with pytest.raises(NodeFailure, match=rf"DRBD {version.split(maxsplit=1)[0]} is loaded.*8\.4") as caught:
        parse_status(f"version: {version}\n")
    assert caught.value.code == "unsupported"


def test_what_is_no_status_is_refused() -> None:
    """An empty or foreign file is no kernel without mirrors."""
    for text in ("", "\n", "hello\nworld\n"):
        with pytest.raises(NodeFailure, match="does not begin with a version"):
            parse_status(text)


@given(st.text(alphabet="0123456789: csrod\n\tUpToDate/'[]=>.,%()KMfinshp-", max_size=200))
def test_no_status_makes_it_stumble(text: str) -> None:
    """Whatever follows the version, it is read or left out."""
    parse_status(f"version: 8.4.11\n{text}")


# drbdsetup show


def test_setup_alone() -> None:
    """Volumes without a connection."""
    assert parse_show(said("show-alone")) == [
        Setup(resource="resource0", minor=0, data="/dev/xenvg/data", meta="/dev/xenvg/meta")
    ]


def test_setup_without_volumes() -> None:
    """A connection without volumes, from the other end's point of view."""
    ends = (("ipv4", "10.98.0.3", 11000), ("ipv4", "10.98.0.2", 11000))
    assert parse_show(said("show-diskless")) == [Setup(resource="resource0", minor=0, ends=ends)]


def test_many_setups() -> None:
    """Each with its own: one may be written on both sides, one is alone, one is only a number."""
    found = {one.minor: one for one in parse_show(said("show-many"))}
    assert sorted(found) == [0, 3, 7, 9]
    assert [found[number].dual for number in (0, 3)] == [False, True]
    assert found[3].ends == (("ipv4", "10.98.0.2", 11003), ("ipv4", "10.98.0.3", 11003))
    assert (found[3].data, found[3].meta) == ("/dev/xenvg/data3", "/dev/xenvg/meta3")
    assert found[7].ends is None
    assert found[9] == Setup(resource="resource9", minor=9)


def test_defaults_change_nothing() -> None:
    """With all defaults and comments it is the same setup."""
    [found] = parse_show(said("show-defaults"))
    assert found == next(one for one in parse_show(said("show-many")) if one.minor == 3)


def test_addresses_of_the_sixth_version() -> None:
    """They stand in brackets."""
    text = said("show-diskless").replace("ipv4 10.98.0.3:11000", "ipv6 [fd00::3]:11000")
    text = text.replace("ipv4 10.98.0.2:11000", "ipv6 [fd00::2]:11000")
    assert parse_show(text)[0].ends == (("ipv6", "fd00::3", 11000), ("ipv6", "fd00::2", 11000))


def test_the_secret_is_not_kept() -> None:
    """It is in the text, and in nothing that is made of it."""
    assert "not-a-secret-of-anybody" in said("show-many")
    assert "not-a-secret-of-anybody" not in repr(parse_show(said("show-many")))


@pytest.mark.parametrize(
    "text",
    [
        "resource r {",
        "resource r { } }",
        'resource r { _this_host { volume 0 { device "x; } } }',
        "resource r { _this_host { volume 0 { device minor x; } } }",
        "resource r { _this_host { volume 0 { } } }",
        "resource r { _this_host { address ipv4 nowhere; volume 0 { device minor 0; } } }",
        "resource",
    ],
)
def test_what_is_no_setup_is_refused(text: str) -> None:
    """One clear line, no guess."""
    with pytest.raises(NodeFailure, match="drbdsetup show gave an answer that cannot be read") as caught:
        parse_show(text)
    assert caught.value.code == "storage_error"


# The kernel's log


@pytest.mark.parametrize(
    ("name", "reason", "split"),
    [
        ("log-split-brain", "Split-Brain detected but unresolved, dropping connection!", True),
        ("log-other-secret", "Authentication of peer failed", False),
    ],
)
def test_why_a_peer_was_refused(tmp_path: Path, name: str, reason: str, split: bool) -> None:
    """Only what is said after we began to listen counts, and only of our mirror."""
    path = tmp_path / "kmsg"
    path.write_text(said("log-split-brain"))
    log = KernelLog(path)
    try:
        assert log.reason("drbd0", "resource0") == ""
        with path.open("a") as kernel:
            kernel.write(said(name))
        assert log.reason("drbd1", "resource1") == ""
        with path.open("a") as kernel:
            kernel.write(said(name))
        assert log.reason("drbd0", "resource0") == reason
        assert is_split(reason) is split
    finally:
        log.close()
        log.close()


def test_a_log_that_is_not_for_us_has_no_reasons(tmp_path: Path) -> None:
    """As in a container."""
    log = KernelLog(tmp_path / "nothing")
    assert log.reason("drbd0") == ""
    log.close()
