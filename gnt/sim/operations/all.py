"""Imports every module of operations, so that each enters what it does."""

from gnt.sim.operations import cluster, instances, jobs, nodes  # noqa: F401
