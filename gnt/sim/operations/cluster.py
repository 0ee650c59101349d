"""What is done with the cluster as a whole."""

from __future__ import annotations

from gnt.sim.administrator import Administrator
from gnt.sim.operations.table import does


@does("cluster verify", weight=3)
def verify(admin: Administrator) -> bool:
    """Have everything checked by the cluster itself."""
    return admin.job({"OP_ID": "OP_CLUSTER_VERIFY"})


@does("cluster query", weight=2)
def query(admin: Administrator) -> bool:
    """Look at nodes and instances, live."""
    fields = {"node": ["name", "role", "mfree"], "instance": ["name", "status", "oper_ram"]}
    what = admin.source.choice(sorted(fields))
    return admin.ask("Query", what, fields[what], None)


@does("renew crypto", weight=1)
def renew(admin: Administrator) -> bool:
    """Have certificates made anew, while everything runs.

    Not while a node is flagged offline: it would know nobody when it comes back, and have to be added again.
    """
    if any(node.offline for node in admin.nodes()):
        return False
    what = admin.source.choice(("node_certificates", "cluster_certificate", "rapi_certificate"))
    return admin.job({"OP_ID": "OP_CLUSTER_RENEW_CRYPTO", what: True})


@does("master address", weight=1)
def address(admin: Administrator) -> bool:
    """Have the cluster's address raised again."""
    return admin.job({"OP_ID": "OP_CLUSTER_ACTIVATE_MASTER_IP"})


@does("backup", weight=1)
def backup(admin: Administrator) -> bool:
    """Take a backup, and read it."""
    return admin.back_up()


@does("master failover", weight=4)
def failover(admin: Administrator) -> bool:
    """Have another candidate become the master; the old one hands over if it can be reached."""
    target = admin.pick(admin.candidates())
    return target is not None and admin.fail_over(target.name)


@does("master failover without a majority", weight=1)
def no_voting(admin: Administrator) -> bool:
    """Have the power of the master and most candidates fail, and go on with one that is left."""
    return admin.fail_over_alone()
