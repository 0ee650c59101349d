"""Mirrored disks on a machine whose kernel and programs are stood in for: what is run, and when nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext
from gnt.noded.storage.drbd import MirroredDisks
from gnt.noded.storage.drbd_kernel import Kernel
from gnt.noded.storage.interface import IDiskTemplate, IMirror
from gnt.noded.storage.programs import Programs
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState, MirrorFacts
from tests.noded.places import inline_pools, place_below
from tests.noded.storage.drbd_machine import FRESH, DrbdMachine
from tests.noded.storage.drbd_spec import OWN, SECRET, mirror_spec, volume
from tests.noded.storage.drive import Driven, at_once

NEW = "cs:Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent C r-----"
IN_SYNC = "cs:Connected ro:Secondary/Secondary ds:UpToDate/UpToDate C r-----"
OPEN_HERE = "cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----"
OPEN_THERE = "cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----"
SEEKING = "cs:WFConnection ro:Secondary/Unknown ds:UpToDate/DUnknown C r-----"
ALONE = "cs:StandAlone ro:Secondary/Unknown ds:UpToDate/DUnknown   r-----"
TARGET = "cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----"
DISKLESS = "cs:Connected ro:Secondary/Primary ds:Diskless/UpToDate C r-----"
CONNECT = (
    "drbdsetup connect resource0 ipv4:10.98.0.2:11000 ipv4:10.98.0.3:11000 --protocol C "
    f"--after-sb-0pri discard-zero-changes --after-sb-1pri consensus{{}} --cram-hmac-alg md5 --shared-secret {SECRET}"
)
ATTACH = (
    "drbdsetup attach 0 /dev/xenvg/data /dev/xenvg/meta flexible --on-io-error=detach --size 64m "
    "--c-plan-ahead=0 --resync-rate=61440"
)
APPLY = "drbdmeta /dev/drbd0 v08 /dev/xenvg/meta flex-external apply-al"
WIPE = "dd if=/dev/zero of=/dev/xenvg/meta bs=1048576 count=128 oflag=direct"
MAKE = "drbdmeta --force /dev/drbd0 v08 /dev/xenvg/meta flex-external create-md"
MINOR = ["drbdsetup new-resource resource0", "drbdsetup new-minor resource0 0 0"]


class Turning(Clock):
    """A clock on which whoever sleeps has slept already."""

    def callLater(self, delay: float, what: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # noqa: D102
        call = super().callLater(delay, what, *args, **kwargs)
        self.advance(delay)
        return call


@implementer(IDiskTemplate)
class Volumes:
    """Stands in for the template of the volumes: sizes by name, and what was asked for."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.asked: list[str] = []
        self.full = ""

    async def create(self, disk: DiskSpec, context: Any = None) -> None:
        """Make a volume, unless there is no room."""
        name = str(disk.logical_id[1])
        if name == self.full:
            raise NodeFailure("no_space", "Not enough free space")
        self.asked.append(f"create {name}")
        self.sizes.setdefault(name, disk.size)

    async def remove(self, disk: DiskSpec, context: Any = None) -> None:
        """Remove a volume."""
        self.asked.append(f"remove {disk.logical_id[1]}")
        self.sizes.pop(str(disk.logical_id[1]), None)

    async def assemble(self, disk: DiskSpec, primary: bool, context: Any = None) -> DiskDevice:
        """Activate a volume."""
        if disk.logical_id[1] not in self.sizes:
            raise NodeFailure("not_found", f"Disk {disk.uuid} is not there: no volume")
        return DiskDevice(path=f"/dev/xenvg/{disk.logical_id[1]}")

    async def find(self, disk: DiskSpec, context: Any = None) -> DiskFacts | None:
        """Find a volume."""
        name = str(disk.logical_id[1])
        return DiskFacts(path=f"/dev/xenvg/{name}", size=self.sizes[name]) if name in self.sizes else None

    async def find_many(self, disks: Sequence[DiskSpec], context: Any = None) -> list[DiskState]:
        """Find volumes, and note that somebody looked."""
        self.asked.append(f"look at {len(disks)}")
        return [DiskState(facts=await self.find(disk)) for disk in disks]

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: Any = None) -> None:
        """Grow a volume."""
        self.asked.append(f"grow {disk.logical_id[1]} {size}")

    async def check_grow(self, disk: DiskSpec, size: int, context: Any = None) -> None:
        """Note that somebody checked."""
        self.asked.append(f"check {disk.logical_id[1]} {size}")

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: Any = None) -> None:
        """Make a snapshot."""
        self.asked.append(f"snapshot {disk.logical_id[1]}")

    async def label(self, disk: DiskSpec, text: str, context: Any = None) -> None:
        """Label a volume."""
        self.asked.append(f"label {disk.logical_id[1]} {text}")


@pytest.fixture
def machine(tmp_path: Path) -> DrbdMachine:
    """Give a machine with DRBD loaded and no mirror."""
    return DrbdMachine(tmp_path)


@pytest.fixture
def volumes() -> Volumes:
    """Give the volumes below, none of which is there."""
    return Volumes()


@pytest.fixture
def there(volumes: Volumes) -> Volumes:
    """Give the volumes below, made."""
    volumes.sizes = {"data": 64, "meta": 128}
    return volumes


class Readable(Kernel):
    """A kernel whose volumes can all be read but those in `broken`."""

    broken: frozenset[str] = frozenset()
    behind: tuple[int, ...] = ()
    """Sizes that are seen first, one at each look."""

    async def size(self, minor: int) -> int:
        """Give what the test says first, then what it is."""
        if self.behind:
            seen, self.behind = self.behind[0], self.behind[1:]
            return seen
        return await super().size(minor)

    async def can_read(self, device: str) -> bool:
        """Say what the test says."""
        return device not in self.broken


@pytest.fixture
def kernel(machine: DrbdMachine) -> Readable:
    """Give the door to the kernel."""
    programs = Programs(machine, {})
    return Readable(inline_pools("storage"), programs, proc=machine.proc, sys=machine.sys, log=machine.log)


@pytest.fixture
def mirror(tmp_path: Path, kernel: Readable, volumes: Volumes) -> Driven:
    """Give the template under test, on the node that has the mirror's first side."""
    place = place_below(tmp_path, clock=Turning())
    return Driven(MirroredDisks(place, kernel, volumes, lambda: OWN), at_once)


def refusal(work: Any, *args: Any) -> NodeFailure:
    """Give what something is refused with: one line, and never the secret."""
    with pytest.raises(NodeFailure) as caught:
        work(*args)
    assert "\n" not in caught.value.text
    assert SECRET not in caught.value.text + caught.value.hint
    return caught.value


def test_provides_both_interfaces(mirror: Driven) -> None:
    """As a disk, and as a mirror."""
    assert verifyObject(IDiskTemplate, mirror.template)
    assert verifyObject(IMirror, mirror.template)


# Making and removing


def test_creation_makes_volumes_and_metadata(mirror: Driven, machine: DrbdMachine, volumes: Volumes) -> None:
    """The data is not touched, nothing is set up; a second call finds all made."""
    mirror.create(mirror_spec())
    assert machine.commands == [WIPE, MAKE]
    assert volumes.sizes == {"data": 64, "meta": 128}
    mirror.create(mirror_spec())
    assert machine.commands == [WIPE, MAKE]


def test_creation_keeps_what_is_set_up(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """A late repeat of the call does not touch metadata that is in use."""
    machine.is_set_up()
    machine.says(OPEN_HERE)
    mirror.create(mirror_spec())
    assert machine.commands == []


@pytest.mark.parametrize("full", ["data", "meta"])
def test_failed_creation_leaves_nothing(mirror: Driven, volumes: Volumes, full: str) -> None:
    """What was made is removed again."""
    volumes.full = full
    assert refusal(mirror.create, mirror_spec()).code == "no_space"
    assert volumes.sizes == {}


def test_failed_creation_keeps_what_was_there(mirror: Driven, volumes: Volumes, machine: DrbdMachine) -> None:
    """A volume that an earlier call made is not this call's to remove."""
    volumes.sizes["data"] = 64
    machine.refuse["create-md"] = 165
    refusal(mirror.create, mirror_spec())
    assert volumes.sizes == {"data": 64}


def test_a_new_mirror_costs_one_look(mirror: Driven, volumes: Volumes, machine: DrbdMachine) -> None:
    """What was made just now is not looked at again, and bears no metadata that could be there already."""
    machine.metadata.add("/dev/xenvg/meta")
    mirror.create(mirror_spec())
    assert volumes.asked == ["look at 2", "create data", "create meta"]
    assert machine.commands == [WIPE, MAKE]


def test_a_taken_minor_is_left_alone(mirror: Driven, machine: DrbdMachine, volumes: Volumes) -> None:
    """Somebody else's mirror under our number: not created over, not assembled, not taken down, not found."""
    machine.is_set_up(data="/dev/other/data")
    machine.says(OPEN_HERE)
    disk = mirror_spec()
    assert refusal(mirror.create, disk).code == "exists"
    for work in (
        lambda: mirror.assemble(disk, True),
        lambda: mirror.promote(disk, False),
        lambda: mirror.contents(disk),
        lambda: mirror.disconnect(disk),
        lambda: mirror.detach(disk),
        lambda: mirror.attach(disk),
        lambda: mirror.grow(disk, 128, False),
    ):
        assert refusal(work).code == "foreign"
    assert mirror.find(disk) is None
    mirror.release(disk)
    mirror.remove(disk)
    assert machine.commands == []
    assert volumes.sizes == {}


def test_a_mirror_without_volumes_is_known_by_its_port(mirror: Driven, machine: DrbdMachine) -> None:
    """Another port, another mirror."""
    machine.is_set_up(data="", port=11009)
    machine.says(DISKLESS)
    assert refusal(mirror.assemble, mirror_spec(), True).code == "foreign"
    machine.is_set_up(data="")
    assert mirror.find(mirror_spec()).local_status == "faulty"


@pytest.mark.parametrize(
    ("data", "meta", "code"), [(32, 128, "exists"), (64, 64, "wrong_input"), (64, 2048, "wrong_input")]
)
def test_volumes_of_the_wrong_size(mirror: Driven, volumes: Volumes, data: int, meta: int, code: str) -> None:
    """Data smaller than the mirror, metadata outside of what DRBD takes."""
    volumes.sizes = {"data": data, "meta": meta}
    assert refusal(mirror.create, mirror_spec()).code == code
    assert volumes.sizes == {"data": data, "meta": meta}


@pytest.mark.parametrize(("data", "meta"), [(32, 128), (64, 64), (64, 2048)])
def test_volumes_that_would_be_of_the_wrong_size(mirror: Driven, volumes: Volumes, data: int, meta: int) -> None:
    """They are not made at all."""
    wrong = mirror_spec(children=(volume("data", data), volume("meta", meta)))
    assert refusal(mirror.create, wrong).code == "wrong_input"
    assert volumes.sizes == {}


def test_removal_takes_down_and_removes(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Twice the same; without DRBD loaded, the volumes go all the same."""
    machine.is_set_up()
    machine.says(IN_SYNC)
    for _ in range(2):
        mirror.remove(mirror_spec())
    assert machine.commands == ["drbdsetup down resource0"]
    assert there.sizes == {}
    machine.proc.unlink()
    mirror.remove(mirror_spec())
    mirror.release(mirror_spec())
    mirror.demote(mirror_spec())


def test_what_is_in_use_is_not_removed(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """A mirror that a guest has open keeps its volumes."""
    machine.is_set_up()
    machine.says(OPEN_HERE)
    machine.refuse["down"] = -12
    failure = refusal(mirror.remove, mirror_spec())
    assert (failure.code, failure.retry) == ("busy", True)
    assert there.sizes == {"data": 64, "meta": 128}


# Assembling


def test_assembling_from_nothing(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Minor, volumes after their log is settled, connection; no role."""
    machine.then["connect"] = IN_SYNC
    assert mirror.assemble(mirror_spec(), False) == DiskDevice(path="/dev/drbd0")
    assert machine.commands == [*MINOR, APPLY, ATTACH, CONNECT.format("")]


def test_assembling_again_changes_nothing(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Only the speed is given again, since nobody knows which it was."""
    machine.is_set_up()
    machine.says(OPEN_HERE)
    mirror.assemble(mirror_spec(), True)
    assert machine.commands == ["drbdsetup disk-options 0 --c-plan-ahead=0 --resync-rate=61440"]


def test_what_was_set_up_with_an_older_size_grows_when_it_is_opened(
    mirror: Driven, machine: DrbdMachine, there: Volumes
) -> None:
    """The volumes had grown, and somebody was cut off before the mirror did; never smaller, and never while closed."""
    machine.is_set_up()
    machine.says(OPEN_HERE)
    machine.has_size(64)
    mirror.assemble(mirror_spec(size=96), False)
    assert not any("resize" in command for command in machine.commands)
    for size in (96, 96, 64, 0):
        mirror.assemble(mirror_spec(size=size), True)
    assert [command for command in machine.commands if "resize" in command] == ["drbdsetup resize 0 --size 96m"]


def test_a_mirror_that_cannot_grow_when_it_is_opened_is_open_and_says_so(
    mirror: Driven, machine: DrbdMachine, there: Volumes
) -> None:
    """The guest gets its disk as it is; the next opening tries again."""
    machine.is_set_up()
    machine.says(OPEN_HERE)
    machine.has_size(64)
    machine.refuse["resize"] = 130
    said: list[str] = []
    context = CallContext("1", None, said.append)
    mirror.assemble(mirror_spec(size=96), True, context)
    machine.refuse.clear()
    machine._follow = lambda *_: None  # type: ignore[method-assign]
    mirror.assemble(mirror_spec(size=96), True, context)
    has = "drbd0 is opened with 64 MiB of 96"
    assert said == [
        f"{has}: drbd0 does not grow: its sides are coming into step; gnt-instance activate-disks tries again",
        f"{has}: a volume below it is smaller, or its other side is away; gnt-instance activate-disks tries again",
    ]
    machine.aborted = "resize"
    with pytest.raises(NodeFailure, match="ended because the call was given up"):
        mirror.assemble(mirror_spec(size=96), True, context)


def test_assembling_does_what_is_missing(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Volumes without a connection, a connection without volumes, a connection to another peer."""
    machine.then |= {"connect": IN_SYNC, "disconnect": ALONE}
    machine.is_set_up(net=False)
    machine.says(ALONE)
    mirror.assemble(mirror_spec(), False)
    assert machine.commands[1:] == [CONNECT.format("")]
    machine.commands.clear()
    machine.is_set_up(data="")
    mirror.assemble(mirror_spec(), False)
    assert machine.commands == [APPLY, ATTACH]
    machine.commands.clear()
    machine.is_set_up(peer=7)
    mirror.assemble(mirror_spec(), False)
    assert machine.commands[1] == "drbdsetup disconnect ipv4:10.98.0.2:11000 ipv4:10.98.0.7:11000"
    assert machine.commands[2:] == [CONNECT.format("")]


def test_the_size_may_be_left_to_the_volume(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Size 0 (--ignore-size): DRBD takes the volume's."""
    machine.then["connect"] = IN_SYNC
    mirror.assemble(mirror_spec(size=0), False)
    assert not any("--size" in command for command in machine.commands)


def test_without_its_volumes_it_leans_on_its_peer(mirror: Driven, machine: DrbdMachine, volumes: Volumes) -> None:
    """Lost volumes, or metadata that cannot be read: the peer's data serves."""
    machine.then["connect"] = DISKLESS
    mirror.assemble(mirror_spec(), False)
    assert machine.commands == [*MINOR, CONNECT.format("")]


def test_unreadable_metadata_is_as_good_as_none(
    mirror: Driven, machine: DrbdMachine, there: Volumes, kernel: Readable
) -> None:
    """The volumes are not taken."""
    kernel.broken = frozenset({"/dev/xenvg/meta"})
    machine.then["connect"] = DISKLESS
    mirror.assemble(mirror_spec(), False)
    assert not any("attach" in command for command in machine.commands)


def test_without_volumes_and_peer_nothing_is_set_up(mirror: Driven, machine: DrbdMachine, volumes: Volumes) -> None:
    """A mirror of which nothing is there is not found, and not half set up."""
    machine.then["connect"] = SEEKING
    assert refusal(mirror.assemble, mirror_spec(), False).code == "not_found"
    assert machine.commands[-1] == "drbdsetup down resource0"
    assert refusal(mirror.assemble, mirror_spec(addresses={}), False).code == "not_found"


def test_a_mirror_that_is_set_up_without_volumes_stays_so(
    mirror: Driven, machine: DrbdMachine, volumes: Volumes
) -> None:
    """Its guest may have it open, and its peer may be away for a moment only: it is not taken down for that."""
    machine.is_set_up(data="")
    machine.says(SEEKING.replace("UpToDate/DUnknown", "Diskless/DUnknown"))
    assert refusal(mirror.assemble, mirror_spec(), False).code == "not_found"
    assert machine.commands == []
    machine.says(DISKLESS)
    mirror.assemble(mirror_spec(), False)
    assert machine.commands == []


def test_volumes_that_were_renamed_under_it(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """What the kernel has attached must be what the names mean now, whatever the names say."""
    machine.is_set_up()
    machine.says(IN_SYNC)
    slave = machine.sys / "block/drbd0/slaves/dm-0"
    slave.mkdir(parents=True)
    (slave / "dev").write_text("254:99\n")
    null = mirror_spec()
    data, meta = (msgspec.structs.replace(child, logical_id=("", "null")) for child in null.children)
    machine.setup = machine.setup.replace("/dev/xenvg/data", "/dev/null")
    failure = refusal(mirror.assemble, msgspec.structs.replace(null, children=(data, meta)), False)
    assert failure.code == "foreign"
    assert "other volumes" in failure.text


# The role


def test_a_mirror_in_step_is_opened(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Without force."""
    machine.then["connect"] = IN_SYNC
    mirror.assemble(mirror_spec(), True)
    assert machine.commands[-1] == "drbdsetup primary 0"


def test_a_new_mirror_is_opened_by_force_once(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Both sides are in touch and neither has data: the first opening begins the first sync."""
    machine.then |= {"connect": NEW, "primary --force": OPEN_HERE}
    machine.refuse["primary"] = -2
    machine.generation = FRESH
    mirror.assemble(mirror_spec(), True)
    assert machine.commands[-2:] == ["drbdsetup primary 0", "drbdsetup primary 0 --force"]
    mirror.assemble(mirror_spec(), True)
    assert machine.commands.count("drbdsetup primary 0 --force") == 1


@pytest.mark.parametrize(
    ("state", "generation"),
    [
        # Its peer is away, and may have data.
        ("cs:WFConnection ro:Secondary/Unknown ds:Inconsistent/DUnknown C r-----", FRESH),
        # Its peer has data and sends it, but is gone before it was opened.
        ("cs:SyncTarget ro:Secondary/Secondary ds:Inconsistent/Inconsistent C r-----", FRESH),
        # Both are half a copy of something.
        (NEW, "5BD7C36EB94E4159:0000000000000000:0000000000000000:0000000000000000:0:0:0:1:0:1:0\n"),
        ("cs:WFConnection ro:Secondary/Unknown ds:Outdated/DUnknown C r-----", FRESH),
    ],
)
def test_nothing_else_is_opened_by_force(
    mirror: Driven, machine: DrbdMachine, there: Volumes, state: str, generation: str
) -> None:
    """DRBD says that there is no good data; that is the answer."""
    machine.then["connect"] = state
    machine.refuse["primary"] = -2
    machine.generation = generation
    failure = refusal(mirror.assemble, mirror_spec(), True)
    assert failure.code == "stale"
    assert "up to date" in failure.text
    assert not any("--force" in command for command in machine.commands)


def test_a_mirror_open_on_the_other_node_is_not_opened(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Not even where DRBD would allow two; a migration says that it shares."""
    machine.is_set_up(dual=True)
    machine.says(OPEN_THERE)
    failure = refusal(mirror.promote, mirror_spec(), False)
    assert (failure.code, failure.retry) == ("busy", True)
    assert machine.commands == []
    mirror.promote(mirror_spec(), True)
    assert machine.commands == ["drbdsetup primary 0"]


def test_a_side_that_stands_alone_is_not_opened(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Its other side may be open, and nobody would notice."""
    machine.is_set_up(net=False)
    machine.says(ALONE)
    assert refusal(mirror.promote, mirror_spec(), False).code == "diverged"
    assert machine.commands == []


def test_a_silent_peer_is_waited_for_once(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """The time is given when it is connected, and not again by the call that opens it a moment later."""
    clock = mirror.template._assembly._runtime.clock
    machine.then["connect"] = SEEKING
    began = clock.seconds()
    mirror.assemble(mirror_spec(), False)
    connected = clock.seconds()
    assert 10 <= connected - began < 11
    mirror.assemble(mirror_spec(), True)
    assert clock.seconds() == connected
    assert machine.commands[-1] == "drbdsetup primary 0"
    clock.advance(61)
    mirror.promote(mirror_spec(), False)
    assert clock.seconds() - connected > 70


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("block drbd0: Split-Brain detected but unresolved, dropping connection!", "split brain"),
        ("block drbd0: Unrelated data, aborting!", "Unrelated data"),
        ("drbd resource0: Authentication of peer failed", "Authentication"),
        ("", "log"),
    ],
)
def test_sides_that_refuse_each_other(
    mirror: Driven, machine: DrbdMachine, there: Volumes, word: str, text: str
) -> None:
    """Told in the kernel's words; nothing is opened, and nothing is resolved."""
    machine.then["connect"] = ALONE
    machine._follow = lambda *_: None  # type: ignore[method-assign]
    real = machine.run

    async def run(argv: Sequence[str], **options: Any) -> Any:
        if "connect" in argv:
            with machine.log.open("a") as log:
                log.write(f"3,330,31190000,-;{word}\n")
        return await real(argv, **options)

    machine.run = run  # type: ignore[method-assign]
    failure = refusal(mirror.assemble, mirror_spec(), True)
    assert failure.code == "diverged"
    assert text in failure.text
    assert not any("primary" in command for command in machine.commands)
    assert not any("discard-my-data" in command for command in machine.commands)


def test_closing(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Only what is open is closed; what somebody has open says so."""
    machine.is_set_up()
    machine.says(IN_SYNC)
    mirror.demote(mirror_spec())
    assert machine.commands == []
    machine.says(OPEN_HERE)
    mirror.demote(mirror_spec())
    assert machine.commands == ["drbdsetup secondary 0"]
    machine.refuse["secondary"] = -12
    assert "something has it open" in refusal(mirror.demote, mirror_spec()).text


def test_contents_are_where_it_is_open(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """A closed side cannot even be read."""
    assert refusal(mirror.contents, mirror_spec()).code == "not_found"
    machine.is_set_up()
    machine.says(IN_SYNC)
    assert refusal(mirror.contents, mirror_spec()).code == "busy"
    machine.says(OPEN_HERE)
    assert (mirror.contents(mirror_spec()).place, mirror.contents(mirror_spec()).size) == ("/dev/drbd0", 64)


# Looking


def test_what_is_found(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Device, size and state of one that is set up; of one that is not, that its volume is there."""
    assert mirror.find(mirror_spec()) == DiskFacts(path="", size=64, degraded=True, local_status="unknown")
    machine.is_set_up()
    machine.has_size(64)
    machine.says(TARGET + "\n\tsync'ed: 23.6% (54064/65536)K\n\tfinish: 0:00:04 speed: 11,472 (11,472) K/sec")
    assert mirror.find(mirror_spec()) == DiskFacts(
        path="/dev/drbd0",
        size=64,
        sync_percent=23.6,
        estimated_time=4.0,
        sync_speed=11472 / 1024,
        degraded=True,
        local_status="syncing",
    )


def test_many_are_found_with_one_look(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """One look at the kernel for all, one at the volumes of those that are not set up."""
    machine.is_set_up()
    machine.says(IN_SYNC)
    lying = mirror_spec(uuid="other", logical_id=(OWN, "node-b", 11001, 1, 5, SECRET))
    gone = mirror_spec(uuid="gone", logical_id=(OWN, "node-b", 11002, 2, 6, SECRET), children=())
    states = mirror.find_many([lying, mirror_spec(), gone])
    assert [state.facts.path if state.facts else None for state in states] == ["", "/dev/drbd0", None]
    assert there.asked == ["look at 1"]


def test_one_that_is_no_mirror_hides_no_other(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Its answer is its problem."""
    machine.is_set_up()
    machine.says(IN_SYNC)
    stranger = mirror_spec(logical_id=("node-x", "node-y", 11000, 0, 0, SECRET))
    states = mirror.find_many([stranger, mirror_spec()])
    assert "no side of it" in states[0].problem
    assert states[1].facts is not None


def test_a_machine_without_drbd(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Says so where something is to be done, and has no mirrors where somebody looks."""
    machine.proc.unlink()
    for work in (lambda: mirror.create(mirror_spec()), lambda: mirror.assemble(mirror_spec(), False)):
        assert "check if the module is loaded" in refusal(work).text
    assert mirror.find(mirror_spec()).path == ""
    assert mirror.overview().version == ""


def test_overview(mirror: Driven, machine: DrbdMachine) -> None:
    """Every minor in use, the version and the helper."""
    helper = machine.sys / "module/drbd/parameters/usermode_helper"
    helper.parent.mkdir(parents=True)
    helper.write_text("/bin/true\n")
    machine.says(OPEN_HERE + "\n 2: cs:Unconfigured")
    overview = mirror.overview()
    assert (overview.version, overview.helper) == ("8.4.11 (api:1/proto:86-101)", "/bin/true")
    assert overview.minors == [
        MirrorFacts(
            minor=0,
            connection="Connected",
            role="Primary",
            peer_role="Secondary",
            disk="UpToDate",
            peer_disk="UpToDate",
        )
    ]


# Growing, and as a mirror


def test_growing(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """First the volumes, then the mirror; never smaller; what comes into step says so, and what is open nowhere."""
    mirror.check_grow(mirror_spec(), 96)
    mirror.grow(mirror_spec(), 96, True)
    assert there.asked == ["check data 96", "grow data 96"]
    assert refusal(mirror.grow, mirror_spec(), 96, False).code == "not_found"
    machine.is_set_up()
    machine.says(OPEN_HERE)
    machine.has_size(64)
    for size in (96, 96, 32):
        mirror.grow(mirror_spec(), size, False)
    assert machine.commands == ["drbdsetup resize 0 --size 96m"]
    machine.refuse["resize"] = 130
    failure = refusal(mirror.grow, mirror_spec(), 128, False)
    assert (failure.code, failure.retry) == ("busy", True)
    machine.refuse["resize"] = 131
    failure = refusal(mirror.grow, mirror_spec(), 128, False)
    assert (failure.code, failure.retry) == ("not_open", False)
    assert "open for writing on neither" in failure.text
    assert "gnt-instance activate-disks opens it" in failure.hint


def test_a_mirror_whose_peer_tells_a_moment_later_that_it_has_grown_has_grown(
    mirror: Driven, kernel: Readable, machine: DrbdMachine, there: Volumes
) -> None:
    """The kernel's program ends before the peer's answer is there, on a busy machine long before."""
    machine.is_set_up()
    machine.says(OPEN_HERE)
    kernel.behind = (64, 64, 64, 64)
    mirror.grow(mirror_spec(), 96, False)
    assert machine.commands == ["drbdsetup resize 0 --size 96m"]
    said: list[str] = []
    kernel.behind = (96, 96, 96, 96)
    mirror.assemble(mirror_spec(size=128), True, CallContext("1", None, said.append))
    assert machine.commands[-1] == "drbdsetup resize 0 --size 128m"
    assert said == []


def test_a_mirror_without_its_peer_is_not_waited_for_when_it_grows(
    mirror: Driven, kernel: Readable, machine: DrbdMachine, there: Volumes
) -> None:
    """Nobody tells anything: how large it is now is how large it is."""
    machine.is_set_up()
    machine.says("cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----")
    kernel.behind = (64, 64, 96)
    assert refusal(mirror.grow, mirror_spec(), 96, False).text.startswith("drbd0 has grown to 64 MiB, not 96")


def test_growing_over_a_smaller_volume(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """DRBD takes the smaller of both sides; that is not what was asked for."""
    machine.is_set_up()
    machine.says(OPEN_HERE)
    machine.has_size(64)
    machine._follow = lambda *_: None  # type: ignore[method-assign]
    assert "a volume below it is smaller" in refusal(mirror.grow, mirror_spec(), 96, False).text


def test_connecting_in_another_way(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Disconnected first; one that is connected like that is left alone."""
    machine.is_set_up()
    machine.says(IN_SYNC)
    machine.then |= {"disconnect": ALONE, "connect": IN_SYNC}
    mirror.connect(mirror_spec(), False)
    assert machine.commands == []
    mirror.connect(mirror_spec(), True)
    assert machine.commands == [
        "drbdsetup disconnect ipv4:10.98.0.2:11000 ipv4:10.98.0.3:11000",
        CONNECT.format(" --allow-two-primaries"),
    ]


def test_disconnecting(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Until it stands alone; twice the same; refused where the peer's data is needed."""
    machine.is_set_up()
    machine.says(IN_SYNC)
    machine.then["disconnect"] = ALONE
    for _ in range(2):
        mirror.disconnect(mirror_spec())
    assert machine.commands == ["drbdsetup disconnect ipv4:10.98.0.2:11000 ipv4:10.98.0.3:11000"]
    machine.is_set_up()
    machine.says("cs:SyncTarget ro:Primary/Secondary ds:Inconsistent/UpToDate C r-----")
    machine.refuse["disconnect"] = -2
    assert refusal(mirror.disconnect, mirror_spec()).code == "stale"
    machine.refuse["disconnect"] = 162
    machine.says(ALONE)
    mirror.disconnect(mirror_spec())


def test_a_connection_that_does_not_end(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """After a minute it is said."""
    machine.is_set_up()
    machine.says("cs:Disconnecting ro:Secondary/Unknown ds:UpToDate/DUnknown C r-----")
    assert "does not come to stand alone within 60 s" in refusal(mirror.disconnect, mirror_spec()).text


def test_exchanging_volumes(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """Detached, then attached with fresh metadata; each twice the same."""
    machine.is_set_up()
    machine.says(OPEN_THERE)
    machine.then |= {"detach": DISKLESS, "attach": TARGET}
    for _ in range(2):
        mirror.detach(mirror_spec())
    assert machine.commands == ["drbdsetup detach 0"]
    machine.metadata.add("/dev/xenvg/meta")
    for _ in range(2):
        mirror.attach(mirror_spec())
    assert machine.commands[1:] == [WIPE, MAKE, APPLY, ATTACH]


def test_the_last_good_data_is_not_detached(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """DRBD refuses, and we say why."""
    machine.is_set_up()
    machine.says("cs:Connected ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----")
    machine.refuse["detach"] = -2
    assert refusal(mirror.detach, mirror_spec()).code == "stale"


def test_pausing(mirror: Driven, machine: DrbdMachine, there: Volumes) -> None:
    """What is paused already, or goes on already, is fine."""
    machine.is_set_up()
    machine.says(TARGET)
    mirror.pause(mirror_spec(), True)
    mirror.pause(mirror_spec(), False)
    machine.refuse |= {"pause-sync": 134, "resume-sync": 157}
    mirror.pause(mirror_spec(), True)
    mirror.pause(mirror_spec(), False)
    assert machine.commands == ["drbdsetup pause-sync 0", "drbdsetup resume-sync 0"] * 2


def test_what_its_volumes_do(mirror: Driven, there: Volumes) -> None:
    """Snapshots are of this side's data, labels on both volumes; a mirror has no name to change."""
    mirror.snapshot(mirror_spec(), mirror_spec().children[0])
    mirror.label(mirror_spec(), "originstname+web1")
    assert there.asked == ["snapshot data", "label data originstname+web1", "label meta originstname+web1"]
    assert refusal(mirror.rename, mirror_spec(), mirror_spec()).code == "unsupported"
