"""The opcode that changes the cluster's parameters."""

from __future__ import annotations

from typing import Annotated

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.fields import Diskparams, DiskState, HvState
from gnt.opcodes.parameter_types import (
    DiskTemplate,
    Hypervisor,
    ListEdit,
    Name,
    NicParams,
    NonNegative,
    Params,
    Positive,
)


class ClusterSetParams(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_SET_PARAMS"):
    """Change the cluster's parameters; what is left out stays."""

    force: Annotated[bool, Doc("go on although checks object, where the objection is not fatal")] = False
    hv_state: HvState = None
    disk_state: DiskState = None
    vg_name: Annotated[str | None, Doc("volume group of LVM disks; an empty name ends the use of LVM")] = None
    enabled_hypervisors: Annotated[
        tuple[Hypervisor, ...] | None, Doc("hypervisors instances may use; the first is the default")
    ] = None
    hvparams: Annotated[
        dict[str, Params] | None, Doc("changes of the cluster's hypervisor parameters, for each hypervisor")
    ] = None
    beparams: Annotated[Params | None, Doc("changes of the cluster's backend parameters")] = None
    os_hvp: Annotated[
        dict[str, Params] | None,
        Doc("changes of hypervisor parameters that go with a guest OS: OS, hypervisor, parameters"),
    ] = None
    osparams: Annotated[
        dict[str, Params] | None, Doc("changes of the parameters of guest OS definitions, for each OS")
    ] = None
    osparams_private_cluster: Annotated[
        dict[str, Params] | None, Doc("changes of OS parameters that logs and answers never show, for each OS")
    ] = None
    diskparams: Diskparams = None
    candidate_pool_size: Annotated[Positive | None, Doc("number of master candidates the cluster keeps up")] = None
    max_running_jobs: Annotated[Positive | None, Doc("number of jobs that run at the same time")] = None
    max_tracked_jobs: Annotated[Positive | None, Doc("number of running jobs that are watched one by one")] = None
    uid_pool: Annotated[
        tuple[tuple[int, int], ...] | None,
        Doc("user ids guests may run under, as [first, last] ranges; replaces the pool"),
    ] = None
    add_uids: Annotated[
        tuple[tuple[int, int], ...] | None, Doc("ranges [first, last] of user ids to add to the pool")
    ] = None
    remove_uids: Annotated[
        tuple[tuple[int, int], ...] | None, Doc("ranges [first, last] of user ids to take out of the pool")
    ] = None
    maintain_node_health: Annotated[
        bool | None, Doc("let the watcher stop guests and disks on nodes that are marked offline")
    ] = None
    prealloc_wipe_disks: Annotated[bool | None, Doc("overwrite new disks before anybody may read them")] = None
    nicparams: Annotated[NicParams | None, Doc("changes of the cluster's defaults for network interfaces")] = None
    ndparams: Annotated[Params | None, Doc("changes of the cluster's node parameters")] = None
    ipolicy: Annotated[Params | None, Doc("changes of the limits that instances must keep")] = None
    drbd_helper: Annotated[
        str | None, Doc("program the DRBD kernel module calls; an empty path ends the use of DRBD")
    ] = None
    default_iallocator: Annotated[
        str | None, Doc("allocator used where none is named; an empty name takes the default away")
    ] = None
    default_iallocator_params: Annotated[
        Params | None, Doc("parameters that the default allocator is started with")
    ] = None
    mac_prefix: Annotated[Name | None, Doc("first three bytes of generated MAC addresses, as aa:bb:cc")] = None
    master_netdev: Annotated[str | None, Doc("interface that carries the master address")] = None
    master_netmask: Annotated[NonNegative | None, Doc("length of the network prefix of the master address")] = None
    reserved_lvs: Annotated[
        tuple[Name, ...] | None, Doc("patterns of logical volumes that do not belong to the cluster and are left alone")
    ] = None
    hidden_os: Annotated[
        tuple[tuple[ListEdit, Name], ...] | None,
        Doc("edits [action, OS] of the list of OS definitions that are not shown"),
    ] = None
    blacklisted_os: Annotated[
        tuple[tuple[ListEdit, Name], ...] | None,
        Doc("edits [action, OS] of the list of OS definitions that are not allowed"),
    ] = None
    use_external_mip_script: Annotated[
        bool | None, Doc("let the administrator's own script bring up the master address")
    ] = None
    enabled_disk_templates: Annotated[
        tuple[DiskTemplate, ...] | None, Doc("disk templates instances may use; the first is the default")
    ] = None
    modify_etc_hosts: Annotated[bool | None, Doc("keep the nodes' names in /etc/hosts")] = None
    file_storage_dir: Annotated[str | None, Doc("directory below which file disks lie, the same on every node")] = None
    shared_file_storage_dir: Annotated[
        str | None, Doc("directory of a shared file system below which sharedfile disks lie")
    ] = None
    gluster_storage_dir: Annotated[str | None, Doc("directory at which the Gluster volume is mounted")] = None
    install_image: Annotated[str | None, Doc("image of the helper guest that runs OS scripts apart from the node")] = (
        None
    )
    instance_communication_network: Annotated[
        str | None, Doc("network over which guests reach their node; an empty name ends its use")
    ] = None
    zeroing_image: Annotated[
        str | None, Doc("image of the helper guest that zeroes free space; an empty path ends its use")
    ] = None
    compression_tools: Annotated[tuple[Name, ...] | None, Doc("compression tools that transfers may use")] = None
    enabled_user_shutdown: Annotated[bool | None, Doc("take a guest that was shut down from inside as wanted down")] = (
        None
    )
    enabled_data_collectors: Annotated[dict[str, bool] | None, Doc("which collectors of monitoring data run")] = None
    data_collector_interval: Annotated[
        dict[str, int] | None, Doc("microseconds between two runs of each collector")
    ] = None
