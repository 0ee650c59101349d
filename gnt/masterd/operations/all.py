"""Imports every module of operations, so that each registers what it executes."""

from gnt.masterd.operations import (  # noqa: F401
    cluster,
    cluster_modify,
    cluster_rename,
    ext_storage,
    instance_create,
    instance_data,
    instance_migrate,
    instance_power,
    instance_remove,
    master_ip,
    node,
    node_modify,
    os,
    query,
    renew,
    tags,
    test,
    verify,
)
