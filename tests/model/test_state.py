"""The status of an instance."""

from __future__ import annotations

from itertools import product

import pytest

from gnt.model.objects import AdminState, AdminStateSource, InstanceStatus
from gnt.model.state import Observed, instance_status, user_shutdown_allowed

UP, DOWN, OFFLINE = AdminState.UP, AdminState.DOWN, AdminState.OFFLINE


@pytest.mark.parametrize(
    ("observed", "up", "down", "offline"),
    [
        (Observed.NODE_OFFLINE, "ERROR_nodeoffline", "ERROR_nodeoffline", "ERROR_nodeoffline"),
        (Observed.NODE_DOWN, "ERROR_nodedown", "ERROR_nodedown", "ERROR_nodedown"),
        (Observed.WRONG_NODE, "ERROR_wrongnode", "ERROR_wrongnode", "ERROR_wrongnode"),
        (Observed.RUNNING, "running", "ERROR_up", "ERROR_up"),
        (Observed.USER_SHUTDOWN, "ERROR_down", "ADMIN_down", "ADMIN_offline"),
        (Observed.ABSENT, "ERROR_down", "ADMIN_down", "ADMIN_offline"),
    ],
)
def test_status_by_what_is_wanted_and_seen(observed: Observed, up: str, down: str, offline: str) -> None:
    """Where guests may not end themselves."""
    assert [instance_status(state, observed) for state in (UP, DOWN, OFFLINE)] == [up, down, offline]


def test_a_guest_that_ended_itself() -> None:
    """Where that is allowed it is no error, and stays known after the wish was changed by it."""
    assert instance_status(UP, Observed.USER_SHUTDOWN, user_shutdown=True) == "USER_down"
    by_user = AdminStateSource.USER
    assert instance_status(DOWN, Observed.ABSENT, source=by_user, user_shutdown=True) == "USER_down"
    assert instance_status(DOWN, Observed.ABSENT, source=by_user) == "ADMIN_down"
    assert instance_status(UP, Observed.ABSENT, user_shutdown=True) == "ERROR_down"


def test_every_combination_has_a_status() -> None:
    """Nothing falls through, and every status can occur."""
    found = {
        instance_status(state, observed, source=source, user_shutdown=allowed)
        for state, observed, source, allowed in product(AdminState, Observed, AdminStateSource, (True, False))
    }
    assert found == set(InstanceStatus)


def test_user_shutdown_needs_cluster_and_kvm() -> None:
    """The cluster's switch, and for kvm the instance's too."""
    assert user_shutdown_allowed(enabled=True, hypervisor="xen-pvm", hvparams={})
    assert user_shutdown_allowed(enabled=True, hypervisor="kvm", hvparams={"user_shutdown": True})
    assert not user_shutdown_allowed(enabled=True, hypervisor="kvm", hvparams={"user_shutdown": False})
    assert not user_shutdown_allowed(enabled=False, hypervisor="kvm", hvparams={"user_shutdown": True})
