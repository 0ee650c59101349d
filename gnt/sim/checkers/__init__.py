"""What must hold, found out past the code that is checked: from the files that the daemons leave, and from answers.

Each checker gives lines about what is wrong; none: all is well. The invariants of the simulator are looked after here:

* I1, one writer: `SimWorld.look_for_twins`, whenever a hypervisor has done something; `gnt.sim.mirrors.two_writers`
  after every event; `things` and `storage` at rest; what guests wrote is there: `gnt.sim.ledger`, all the time;
* I2, no lost acknowledgement: `jobs.check_acknowledged`, and `jobs.check_durable` when it is given;
* I3, one master in a term, nothing done for an old one: `gnt.sim.door.Witness`;
* I4, locks: `gnt.sim.lock_order` at each grant, `locks.check_holders` while jobs run, `locks.check_free` afterwards;
* I5, ways that jobs go: `jobs.JobsLog`;
* I6, nothing left half-way: `things`, `storage`, `jobs.check_open`;
* I7, one effect for each call: `things.check_scripts`, `things.check_call_table`;
* I8, everything ends: `gnt.sim.client.Client.settle`, which is not patient for ever;
* I11, the configuration is the same wherever it is written: `copies`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnt.sim.checkers import copies, jobs, locks, storage, things
from gnt.sim.checkers.reading import cluster_of, master_node, store_of

if TYPE_CHECKING:
    from gnt.sim.client import Client

__all__ = ["check", "cluster_of", "master_node", "store_of"]


def check(client: Client) -> list[str]:
    """Check everything in a cluster at rest, all of whose machines are on."""
    with client.world.at_peace():
        return _check(client)


def _check(client: Client) -> list[str]:
    world = client.world
    node = master_node(world)
    problems = [*world.problems, *world.witness.problems]
    if node is None:
        return [*problems, "there is no master"]
    with store_of(node) as store:
        cluster = store.load_cluster()
        problems += client.log.check(store)
        problems += jobs.check_open(store, cluster)
        kept = storage.kept_copies(client, cluster)
        problems += things.check_instances(world, cluster, client.excused(), client.unstopped(), kept)
        problems += storage.check_storage(world, cluster)
        problems += things.check_address(world, cluster)
        problems += copies.check_copies(world, store, cluster)
        problems += copies.check_trust(world, cluster)
        problems += copies.check_views(world, store, cluster)
    problems += storage.check_ledger(client)
    problems += jobs.check_acknowledged(client)
    problems += locks.check_free(client)
    problems += things.check_scripts(world)
    for each in world.nodes.values():
        problems += things.check_call_table(each)
    return problems
