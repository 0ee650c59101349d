"""What clients do, one function for each kind of operation: a table, from which a run by chance draws.

    @does("instance shutdown", weight=4)
    def shut_down(admin: Administrator) -> bool:
        instance = admin.pick(admin.instances(up=True))
        return instance is not None and admin.job({"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": instance.name})

A function looks at the cluster as the master shows it, chooses with the administrator's source of randomness, and does
one thing; it gives False, having done nothing, where there is nothing to do it with. It need not know whether what it
asks for is possible: a refusal is an answer too. What must hold is for the checkers to say, whatever was asked.

Whoever builds an operation enters it here: a function in the module of its kind (imported in `all`), and, where it
makes things that the checkers do not know of, what they are into `gnt.sim.checkers.things`.
"""

from gnt.sim.operations.table import OPERATIONS, does

__all__ = ["OPERATIONS", "does"]
