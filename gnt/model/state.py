"""The status of an instance, from what is wanted and what was seen: `spec/daemons.md`, section 10."""

from __future__ import annotations

from enum import StrEnum

from gnt.model.objects import AdminState, AdminStateSource, InstanceStatus


class Observed(StrEnum):
    """What was learned about a guest by asking the nodes."""

    NODE_OFFLINE = "node_offline"  # its primary node is flagged offline and was not asked
    NODE_DOWN = "node_down"  # its primary node did not answer
    RUNNING = "running"  # runs on its primary node
    WRONG_NODE = "wrong_node"  # runs, but not on its primary node
    USER_SHUTDOWN = "user_shutdown"  # the hypervisor still knows it, stopped from inside
    ABSENT = "absent"  # the primary node answered and does not know it


def instance_status(
    admin_state: AdminState,
    observed: Observed,
    *,
    source: AdminStateSource = AdminStateSource.ADMIN,
    user_shutdown: bool = False,
) -> InstanceStatus:
    """Give the status that lists show.

    `user_shutdown` says whether shutting down from inside is allowed here (`user_shutdown_allowed`); `source` is who
    wanted the admin state.
    """
    wanted_up = admin_state is AdminState.UP
    match observed:
        case Observed.NODE_OFFLINE:
            return InstanceStatus.ERROR_NODEOFFLINE
        case Observed.NODE_DOWN:
            return InstanceStatus.ERROR_NODEDOWN
        case Observed.WRONG_NODE:
            return InstanceStatus.ERROR_WRONGNODE
        case Observed.RUNNING:
            return InstanceStatus.RUNNING if wanted_up else InstanceStatus.ERROR_UP
        case Observed.USER_SHUTDOWN if wanted_up:
            return InstanceStatus.USER_DOWN if user_shutdown else InstanceStatus.ERROR_DOWN
        case Observed.USER_SHUTDOWN | Observed.ABSENT:
            return _not_running(admin_state, source, user_shutdown=user_shutdown)


def _not_running(admin_state: AdminState, source: AdminStateSource, *, user_shutdown: bool) -> InstanceStatus:
    match admin_state:
        case AdminState.UP:
            return InstanceStatus.ERROR_DOWN
        case AdminState.OFFLINE:
            return InstanceStatus.ADMIN_OFFLINE
        case AdminState.DOWN:
            by_user = source is AdminStateSource.USER and user_shutdown
            return InstanceStatus.USER_DOWN if by_user else InstanceStatus.ADMIN_DOWN


def user_shutdown_allowed(*, enabled: bool, hypervisor: str, hvparams: dict[str, object]) -> bool:
    """Say whether a guest may shut itself down for good: enabled in the cluster and, for kvm, in its parameters."""
    return enabled and (hypervisor != "kvm" or hvparams.get("user_shutdown") is True)
