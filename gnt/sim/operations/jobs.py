"""What is done with jobs and with the queue."""

from __future__ import annotations

from typing import Any

from gnt.sim.administrator import Administrator
from gnt.sim.operations.table import does


def delay(admin: Administrator, **more: Any) -> dict[str, Any]:
    """Make an opcode that waits a while, on the master or on nodes, with their locks or without."""
    nodes = [node.name for node in admin.nodes() if admin.source.random() < 0.4]
    op: dict[str, Any] = {
        "OP_ID": "OP_TEST_DELAY",
        "duration": round(admin.source.uniform(0.0, 20.0), 3),
        "on_master": admin.source.random() < 0.5,
        "on_nodes": nodes,
        "no_locks": admin.source.random() < 0.3,
        "priority": admin.source.choice((-10, 0, 0, 10)),
    }
    return {**op, **more}


@does("test delay", weight=6)
def wait(admin: Administrator) -> bool:
    """Submit a job that waits, of one to three opcodes."""
    return admin.job(*[delay(admin) for _ in range(admin.source.randint(1, 3))])


@does("jobs at once", weight=4)
def many(admin: Administrator) -> bool:
    """Submit several in one go; each may depend on the one before it."""
    jobs = [[delay(admin)]]
    for _ in range(admin.source.randint(1, 4)):
        depends = (
            [[-1, [admin.source.choice(("success", "error", "canceled"))]]] if admin.source.random() < 0.6 else None
        )
        jobs.append([delay(admin, depends=depends)])
    return admin.jobs(jobs)


@does("job that depends", weight=3)
def depends(admin: Administrator) -> bool:
    """Submit one that waits for the end of another."""
    other = admin.pick(admin.open_jobs())
    return other is not None and admin.job(delay(admin, depends=[[other, ["success", "error", "canceled"]]]))


@does("job cancel", weight=5)
def cancel(admin: Administrator) -> bool:
    """Cancel a job that may run already."""
    number = admin.pick(admin.open_jobs())
    return number is not None and admin.ask("CancelJob", number, False)


@does("job kill", weight=4)
def kill(admin: Administrator) -> bool:
    """Have a job end that may run already."""
    number = admin.pick(admin.open_jobs())
    return number is not None and admin.ask("CancelJob", number, True)


@does("job priority", weight=3)
def priority(admin: Administrator) -> bool:
    """Change a job's priority."""
    number = admin.pick(admin.open_jobs())
    return number is not None and admin.ask("ChangeJobPriority", number, admin.source.choice((-10, 0, 10)))


@does("job archive", weight=3)
def archive(admin: Administrator) -> bool:
    """Archive one job, or those that are old."""
    number = admin.pick(sorted(admin.client.ends))
    if number is None:
        return False
    if admin.source.random() < 0.3:
        return admin.ask("AutoArchiveJobs", float(admin.source.choice((-1, 300))), 10.0)
    return admin.ask("ArchiveJob", number)


@does("job explain", weight=1)
def explain(admin: Administrator) -> bool:
    """Ask what a job waits for."""
    number = admin.pick(admin.open_jobs())
    return number is not None and admin.ask("ExplainJob", number)


@does("queue drain", weight=2)
def drain(admin: Administrator) -> bool:
    """Have the queue take no jobs for a while, or take them again."""
    admin.drained = not admin.drained
    return admin.ask("SetDrainFlag", admin.drained)


@does("filter add", weight=2)
def add_filter(admin: Administrator) -> bool:
    """Make a rule that concerns the jobs to come."""
    action = admin.source.choice(("ACCEPT", "PAUSE", "REJECT", "CONTINUE", ["RATE_LIMIT", 1]))
    kind = admin.source.choice(("OP_TEST_DELAY", "OP_INSTANCE_STARTUP"))
    predicates = [["jobid", [">", "id", "watermark"]], ["opcode", ["=", "OP_ID", kind]]]
    return admin.add_filter(admin.source.randint(0, 9), predicates, action)


@does("filter remove", weight=3)
def remove_filter(admin: Administrator) -> bool:
    """Take a rule back."""
    uuid = admin.pick(admin.filters)
    return uuid is not None and admin.remove_filter(uuid)
