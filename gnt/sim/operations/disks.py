"""What is done with the disks of instances."""

from __future__ import annotations

from typing import Any

from gnt.model.objects import Instance
from gnt.sim.administrator import Administrator
from gnt.sim.operations.table import does

MIB = 64


def _with_disks(admin: Administrator) -> Instance | None:
    return admin.pick([instance for instance in admin.instances() if instance.disks])


def _change(admin: Administrator, instance: Instance, **changes: Any) -> bool:
    op = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": instance.name, "ignore_ipolicy": True, **changes}
    return admin.job(op)


@does("disks activate", weight=2)
def activate(admin: Administrator) -> bool:
    """Attach the disks of one, or detach them."""
    instance = _with_disks(admin)
    verb = admin.source.choice(("ACTIVATE", "DEACTIVATE"))
    return instance is not None and admin.job({"OP_ID": f"OP_INSTANCE_{verb}_DISKS", "instance_name": instance.name})


@does("disk grow", weight=3)
def grow(admin: Administrator) -> bool:
    """Make the first disk of one larger."""
    instance = _with_disks(admin)
    return instance is not None and admin.job(
        {
            "OP_ID": "OP_INSTANCE_GROW_DISK",
            "instance_name": instance.name,
            "disk": 0,
            "amount": MIB,
            "ignore_ipolicy": True,
        }
    )


@does("disk add", weight=3)
def add(admin: Administrator) -> bool:
    """Give one another disk, as long as it has few."""
    instance = _with_disks(admin)
    if instance is None or len(instance.disks) > 2:
        return False
    return _change(admin, instance, disks=[["add", -1, {"size": MIB}]])


@does("disk remove", weight=3)
def remove(admin: Administrator) -> bool:
    """Take the last disk of one that has several."""
    instance = _with_disks(admin)
    if instance is None or len(instance.disks) < 2:
        return False
    return _change(admin, instance, disks=[["remove", -1, {}]])


@does("disks convert", weight=3)
def convert(admin: Administrator) -> bool:
    """Bring the disks of one, which has to be down, into another template."""
    instance = _with_disks(admin)
    if instance is None:
        return False
    template = admin.source.choice(("file", "sharedfile", "plain", "drbd", "drbd", "thin", "qcow2"))
    other = admin.pick([node for node in admin.nodes() if node.uuid != instance.primary_node])
    if template == "drbd" and other is not None:
        return _change(admin, instance, disk_template=template, remote_node=other.name)
    return _change(admin, instance, disk_template=template)


@does("disks replace", weight=6)
def replace(admin: Administrator) -> bool:
    """Build one side of the mirrors of one anew, in place or on another node."""
    instance = admin.pick(admin.mirrored())
    if instance is None:
        return False
    mode = admin.source.choice(("replace_on_primary", "replace_on_secondary", "replace_new_secondary", "replace_auto"))
    op = {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": instance.name, "mode": mode}
    if mode == "replace_new_secondary":
        node = admin.pick(admin.nodes())
        return node is not None and admin.job({**op, "remote_node": node.name})
    return admin.job(op)


@does("disks sync", weight=3)
def sync(admin: Administrator) -> bool:
    """Set the mirrors of one up where they are not, as the watcher does, and wait until they are in step."""
    instance = admin.pick(admin.mirrored())
    return instance is not None and admin.job(
        {"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": instance.name, "wait_for_sync": True}
    )


@does("instance move", weight=2)
def move(admin: Administrator) -> bool:
    """Copy the disks of one to another node, and have it run there."""
    instance, target = _with_disks(admin), admin.pick(admin.nodes())
    if instance is None or target is None or target.uuid == instance.primary_node:
        return False
    op = {"OP_ID": "OP_INSTANCE_MOVE", "instance_name": instance.name, "target_node": target.name}
    return admin.job({**op, "ignore_ipolicy": True, "shutdown_timeout": 30})


@does("disks make again", weight=1)
def recreate(admin: Administrator) -> bool:
    """Ask for lost disks to be made again; those that are there are left alone."""
    instance = _with_disks(admin)
    return instance is not None and admin.job({"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": instance.name})


@does("instance rename", weight=3)
def rename(admin: Administrator) -> bool:
    """Give one another name: its files move."""
    instance = admin.pick(admin.instances())
    return instance is not None and admin.job(
        {"OP_ID": "OP_INSTANCE_RENAME", "instance_name": instance.name, "new_name": admin.fresh("web")}
    )


@does("instance reboot", weight=3)
def reboot(admin: Administrator) -> bool:
    """Restart one, in some way."""
    instance = admin.pick(admin.instances())
    kind = admin.source.choice(("soft", "hard", "full"))
    return instance is not None and admin.job(
        {"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": instance.name, "reboot_type": kind, "shutdown_timeout": 30}
    )


@does("instance failover", weight=4)
def fail_over(admin: Administrator) -> bool:
    """Stop one and start it elsewhere; from a node that does not answer only if that is known to be off."""
    instance = admin.pick(admin.instances())
    target = admin.target_of(instance) if instance is not None else None
    if instance is None or target is None:
        return False
    op = {
        "OP_ID": "OP_INSTANCE_FAILOVER",
        "instance_name": instance.name,
        "target_node": target.name,
        "shutdown_timeout": 30,
    }
    return admin.job(op)
