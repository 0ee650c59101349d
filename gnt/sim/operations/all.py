"""Imports every module of operations, so that each enters what it does."""

from gnt.sim.operations import cluster, disks, instances, jobs, nodes  # noqa: F401
