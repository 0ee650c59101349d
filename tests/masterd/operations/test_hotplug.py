"""Devices of guests that run: given, taken, exchanged, grown; what a death of the master leaves of that."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.masterd.plan_text import _argument
from gnt.model.errors import NodeFailure
from gnt.wire.guest_calls import DevicePlug, DeviceUnplug, DiskResized
from tests.masterd.fakes import NODE1
from tests.masterd.operations.crashing import crashes
from tests.masterd.operations.test_new_disks import DiskGround

MODIFY = "OP_INSTANCE_SET_PARAMS"
NO_PLUGS = NodeFailure("unsupported", "web1 runs, and it takes none", hint="--no-hotplug: seen at the next start")


class PlugGround(DiskGround):
    """Guests that have devices, by UUID, as long as they run; a disk that is plugged in must be open."""

    def __init__(self, template: str = "plain", disks: int = 1, **parameters: Any) -> None:
        super().__init__()
        self.devices: dict[str, set[str]] = {}
        start = self.nodes.answers["guest_start"]

        def started(node: str, call: Any) -> None:
            start(node, call)
            self.devices[call.instance.uuid] = {one.uuid for one in (*call.instance.disks, *call.instance.nics)}

        self.nodes.answers |= {"guest_start": started, "device_plug": self._plug, "device_unplug": self._unplug}
        self.nodes.answers |= {"disk_release": self._guarded_release}
        self._release = self.world.answers()["disk_release"]
        more = {"snode": "node2"} if template == "drbd" else {}
        end = self.add(disk_template=template, disks=[{"size": 1024}] * disks, **more, **parameters)
        assert end.error is None
        self.nodes.made.clear()

    def _plug(self, _node: str, call: Any) -> None:
        if call.kind == "disk" and call.device not in {disk.uuid for disk in call.instance.disks}:
            self.world.wrongs.append(f"{call.device} is none of its disks")
        self.devices[call.instance.uuid].add(call.device)

    def _unplug(self, _node: str, call: Any) -> None:
        self.devices[call.uuid].discard(call.device)

    def _guarded_release(self, node: str, call: Any) -> Any:
        if any(call.disk.uuid in held for held in self.devices.values()):
            self.world.wrongs.append(f"{call.disk.uuid} was closed under its guest")
        return self._release(node, call)

    def modify(self, **parameters: Any) -> Any:
        """Change the instance; it must succeed."""
        end = self.run(MODIFY, instance_name="web1", **parameters)
        assert end.error is None, end.error
        self.agree()
        return end.result

    def agree(self) -> None:
        """See that the guest has exactly the devices that are recorded, and that nothing wrong was done."""
        instance = self.instance()
        assert self.devices[instance.uuid] == {*instance.disks, *(nic.uuid for nic in instance.nics)}
        self.tidy()

    def calls(self) -> list[Any]:
        """Give the calls about the guest's devices."""
        return [call for _, call in self.nodes.made if isinstance(call, DevicePlug | DeviceUnplug | DiskResized)]


@pytest.mark.parametrize("template", ["plain", "drbd", "file"])
def test_a_running_guest_is_given_a_disk(template: str) -> None:
    """Made, opened, plugged in, and recorded when the guest has it; nothing waits for its next start."""
    ground = PlugGround(template)
    ground.modify(disks=[["add", -1, {"size": 2048}]])
    (plug,) = ground.calls()
    assert (plug.kind, plug.device) == ("disk", ground.instance().disks[1])
    assert plug.instance.disks[1].index == 1
    assert _argument(plug) == "web1: disk/1"
    assert not any("next start" in line for line in ground.said)


def test_a_disk_is_taken_from_a_running_guest_before_it_is_closed() -> None:
    """It lets go first; those behind it are known under their new places afterwards."""
    ground = PlugGround("drbd", disks=3)
    gone = ground.instance().disks[0]
    ground.modify(disks=[["remove", 0, {}]])
    assert [_argument(call) for call in ground.calls()] == ["web1: disk/0"]
    tags = ground.nodes.tags()
    assert tags.index("device_unplug") < tags.index("disk_release") < tags.index("disk_remove")
    assert gone not in ground.journal.head.disks
    renumbered = [call.disk for _, call in ground.nodes.made if call.tag() == "disk_assemble" and call.primary]
    assert [(disk.uuid, disk.index) for disk in renumbered] == [
        (uuid, index) for index, uuid in enumerate(ground.instance().disks)
    ]


def test_a_disk_goes_from_one_running_guest_to_another() -> None:
    """Detached here and attached there, with its data."""
    ground = PlugGround(disks=2)
    ground.add("web2", disk_template="plain")
    moved = ground.instance().disks[1]
    ground.modify(disks=[["detach", 1, {}]])
    assert ground.run(MODIFY, instance_name="web2", disks=[["attach", -1, {"uuid": moved}]]).error is None
    assert moved in ground.devices[ground.instance("web2").uuid]
    ground.tidy()


def test_a_guest_that_clings_to_its_disk_keeps_it() -> None:
    """Nothing is changed, and the line says what the guest said."""
    ground = PlugGround(disks=2)
    held = NodeFailure("held", "web1 does not let go of its disk", hint="unmount it")
    ground.nodes.answers["device_unplug"] = lambda _n, _c: held
    end = ground.run(MODIFY, instance_name="web1", disks=[["remove", 1, {}]])
    assert end.error is not None
    assert "does not let go" in end.error.text
    assert "disk_remove" not in ground.nodes.tags()
    ground.agree()


def test_a_disk_that_the_guest_refuses_is_not_made() -> None:
    """What was made for it is taken back."""
    ground = PlugGround()
    ground.nodes.answers["device_plug"] = lambda _n, _c: NodeFailure("hypervisor", "no slot is free")
    end = ground.run(MODIFY, instance_name="web1", disks=[["add", -1, {"size": 1024}]])
    assert end.error is not None
    assert "no slot is free" in end.error.text
    assert len(ground.world.volumes[NODE1]) == 1
    ground.agree()


def test_interfaces_come_and_go() -> None:
    """Added, removed; one whose address or bridge changes is exchanged, one that gets a name for people stays."""
    ground = PlugGround()
    ground.modify(nics=[["add", -1, {}]])
    first, second = (nic.uuid for nic in ground.instance().nics)
    assert [(call.kind, call.device) for call in ground.calls()] == [("nic", second)]
    ground.nodes.made.clear()
    ground.modify(nics=[["modify", 0, {"mac": "generate"}]])
    assert [(type(call), call.device) for call in ground.calls()] == [(DeviceUnplug, first), (DevicePlug, first)]
    ground.nodes.made.clear()
    ground.modify(nics=[["modify", 0, {"name": "front"}]])
    assert ground.calls() == []
    ground.modify(nics=[["remove", 0, {}]])
    assert [(type(call), call.device) for call in ground.calls()] == [(DeviceUnplug, first)]


def test_a_hypervisor_that_cannot() -> None:
    """Refused by its line, nothing is changed; `force` has the guest see it later, but takes no disk from under it."""
    ground = PlugGround(disks=2)
    ground.nodes.answers["device_plug_check"] = lambda _n, _c: NO_PLUGS
    for change in ({"disks": [["add", -1, {"size": 1024}]]}, {"nics": [["add", -1, {}]]}):
        text = ground.refused(MODIFY, instance_name="web1", **change)
        assert "web1 runs, and it takes none | --no-hotplug" in text
        end = ground.run(MODIFY, instance_name="web1", force=True, **change)
        assert end.error is None
        assert any("at its next start" in line for line in ground.said)
    text = ground.refused(MODIFY, instance_name="web1", disks=[["remove", 0, {}]], force=True)
    assert "web1 is running: its disks are in use" in text
    assert ground.calls() == []


def test_without_hotplug_the_guest_is_left_alone() -> None:
    """It is not even asked."""
    ground = PlugGround(disks=2)
    ground.nodes.answers["device_plug_check"] = lambda _n, _c: NO_PLUGS
    end = ground.run(MODIFY, instance_name="web1", hotplug=False, disks=[["add", -1, {"size": 1024}]])
    assert end.error is None
    assert any("at its next start" in line for line in ground.said)
    text = ground.refused(MODIFY, instance_name="web1", hotplug=False, disks=[["remove", 0, {}]])
    assert "web1 is running: its disks are in use" in text
    assert ground.calls() == []


def test_a_guest_that_is_down_is_not_asked() -> None:
    """Its disks change as ever, and are closed afterwards."""
    ground = PlugGround(start=False)
    ground.nodes.answers["device_plug_check"] = lambda _n, _c: NO_PLUGS
    end = ground.run(MODIFY, instance_name="web1", disks=[["add", -1, {"size": 1024}], ["remove", 0, {}]])
    assert end.error is None
    assert ground.calls() == []
    ground.tidy()


def test_a_running_guest_is_told_of_its_larger_disk() -> None:
    """After it has grown and is recorded; a guest that cannot be told does not undo it."""
    ground = PlugGround("drbd")
    grow = {"instance_name": "web1", "disk": 0, "amount": 1024}
    assert ground.run("OP_INSTANCE_GROW_DISK", **grow).error is None
    (call,) = ground.calls()
    assert (call.disk, call.size) == (ground.instance().disks[0], 2048)
    ground.nodes.answers["disk_resized"] = lambda _n, _c: NO_PLUGS
    assert ground.run("OP_INSTANCE_GROW_DISK", **grow).error is None
    assert any("takes none" in line for line in ground.said)
    assert ground.journal.head.disks_of(ground.instance())[0].size == 3072


def grown(ground: PlugGround) -> tuple[int, int]:
    """Give the size of the instance's first disk as it is recorded, and as it is."""
    (disk,) = ground.journal.head.disks_of(ground.instance())
    return disk.size, ground.world.volumes[NODE1][str(disk.logical_id[1])].size


def opened_by_guest(ground: PlugGround) -> None:
    """Have images behave as under QEMU: nobody else enlarges one that it has open, and it does so itself."""
    plain = ground.nodes.answers["disk_grow"]

    def grow(node: str, call: Any) -> Any:
        (volume,) = ground.world.volumes[node].values()
        if ground.guests[node] and volume.size < call.size:
            return NodeFailure("busy", "A guest has the image open")
        return plain(node, call)

    def resized(node: str, call: Any) -> None:
        assert call.image
        for volume in ground.world.volumes[node].values() if ground.guests[node] else ():
            volume.size = max(volume.size, call.size)

    ground.nodes.answers |= {"disk_grow": grow, "disk_resized": resized}


def test_an_image_is_enlarged_by_the_guest_that_has_it_open() -> None:
    """Also where new disks are filled with zeros: what QEMU adds is zeros. A guest that is down needs nobody."""
    ground = PlugGround("qcow2")
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.settings, prealloc_wipe_disks=True))
    opened_by_guest(ground)
    assert ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=1024).error is None
    assert grown(ground) == (2048, 2048)
    assert ground.world.wiped == []
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is None
    ground.nodes.made.clear()
    assert ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=1024).error is None
    assert grown(ground) == (3072, 3072)
    assert ground.calls() == []


def test_an_image_that_its_guest_does_not_enlarge_stays_as_it_is() -> None:
    """One line, and nothing is changed."""
    ground = PlugGround("qcow2")
    opened_by_guest(ground)
    ground.nodes.answers["disk_resized"] = lambda _n, _c: NO_PLUGS
    end = ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=1024)
    assert end.error is not None
    assert "takes none" in end.error.text
    assert grown(ground) == (1024, 1024)


@pytest.mark.parametrize("after", [False, True])
def test_the_master_dies_while_a_guest_enlarges_its_image(after: bool) -> None:
    """What is recorded is what there is; the command may be given again."""

    def made() -> PlugGround:
        ground = PlugGround("qcow2")
        opened_by_guest(ground)
        return ground

    moments = 0
    grow = {"instance_name": "web1", "disk": 0, "amount": 2048, "absolute": True}
    for moments, ground in crashes(made, "OP_INSTANCE_GROW_DISK", after=after, **grow):
        assert len(set(grown(ground))) == 1, moments
        if grown(ground)[0] < 2048:
            assert ground.run("OP_INSTANCE_GROW_DISK", **grow).error is None
        assert grown(ground) == (2048, 2048)
    assert moments > 2


CHANGES: dict[str, dict[str, Any]] = {
    "add": {"disks": [["add", -1, {"size": 1024}]]},
    "remove": {"disks": [["remove", 0, {}]]},
    "detach": {"disks": [["detach", 1, {}]]},
    "nic": {"nics": [["add", -1, {}], ["remove", 0, {}]]},
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("change", list(CHANGES))
def test_the_master_dies_at_any_moment(change: str, after: bool) -> None:
    """When it has recovered, the guest has exactly what is recorded, and no volume is without an owner."""

    def made() -> PlugGround:
        return PlugGround(disks=2)

    moments = 0
    for _, ground in crashes(made, MODIFY, after=after, instance_name="web1", **CHANGES[change]):
        ground.agree()
        moments += 1
    assert moments > 2
