"""What is done with instances."""

from __future__ import annotations

from gnt.sim.administrator import Administrator
from gnt.sim.operations.table import does

TEMPLATES = ("sharedfile", "sharedfile", "file", "diskless", "plain", "drbd", "drbd", "drbd", "thin", "qcow2")
MOST = 8
"""How many instances there are at most; one more is removed first."""


@does("instance add", weight=16)
def add(admin: Administrator) -> bool:
    """Make one, with the disks of some template, on some node."""
    node = admin.pick(admin.nodes())
    if node is None or len(admin.instances()) >= MOST:
        return False
    template = admin.source.choice(TEMPLATES)
    other = admin.pick([other for other in admin.nodes() if other.uuid != node.uuid])
    if template == "drbd" and other is None:
        return False
    disks = [] if template == "diskless" else [{"size": 64}] * admin.source.randint(1, 2)
    op = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": admin.fresh("web"),
        "mode": "create",
        "disk_template": template,
        "disks": disks,
        "nics": [{}] if admin.source.random() < 0.5 else [],
        "pnode": node.name,
        "ignore_ipolicy": True,
        "start": admin.source.random() < 0.8,
    }
    if template == "drbd" and other is not None:
        op["snode"] = other.name
    if template == "diskless":
        op["no_install"] = True
    else:
        op["os_type"] = "noop"
    return admin.job(op)


@does("instance start", weight=8)
def start(admin: Administrator) -> bool:
    """Start one that should not run, or one that was lost."""
    instance = admin.pick(admin.instances())
    return instance is not None and admin.job({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": instance.name})


@does("instance stop", weight=6)
def stop(admin: Administrator) -> bool:
    """Stop one; sometimes at once."""
    instance = admin.pick(admin.instances())
    timeout = admin.source.choice((0, 30))
    return instance is not None and admin.job(
        {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": instance.name, "timeout": timeout}
    )


@does("instance migrate", weight=10)
def migrate(admin: Administrator) -> bool:
    """Move one while it runs."""
    instance = admin.pick(admin.instances())
    target = admin.target_of(instance) if instance is not None else None
    if instance is None or target is None:
        return False
    return admin.job({"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": instance.name, "target_node": target.name})


@does("instance remove", weight=8)
def remove(admin: Administrator) -> bool:
    """Remove one with all its data."""
    instance = admin.pick(admin.instances())
    if instance is None or len(admin.instances()) < 3:
        return False
    return admin.job({"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": instance.name, "shutdown_timeout": 30})


@does("instance look", weight=2)
def look(admin: Administrator) -> bool:
    """Have instances described, or the console of one named."""
    instance = admin.pick(admin.instances())
    if instance is None:
        return False
    if admin.source.random() < 0.5:
        return admin.job({"OP_ID": "OP_INSTANCE_QUERY_DATA", "instances": [instance.name]})
    return admin.job({"OP_ID": "OP_INSTANCE_CONSOLE", "instance_name": instance.name})
