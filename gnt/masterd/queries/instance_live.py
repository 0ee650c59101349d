"""The fields of instances that only nodes can tell: `spec/luxi.md`, section 6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gnt.masterd.queries.fields import (
    NO,
    NO_DATA,
    NORMAL,
    OFFLINE,
    UNAVAILABLE,
    YES,
    Asks,
    Bind,
    Cell,
    Field,
    FieldKind,
    Getter,
)
from gnt.masterd.queries.view import View
from gnt.model.objects import Instance
from gnt.model.state import Observed, instance_status, user_shutdown_allowed
from gnt.wire.guest_calls import Console, GuestFacts


def observer(view: View) -> Callable[[Instance], Observed]:
    """Make what says what was learned about the guest of an instance."""
    offline, guests, strays = view.offline, view.guests, view.strays

    def observed(instance: Instance) -> Observed:
        primary = instance.primary_node
        if primary in offline:
            return Observed.NODE_OFFLINE
        seen = guests.get(primary)
        if seen is None:
            # One that is only reserved has not even a place for it.
            return Observed.NODE_DOWN if primary else Observed.ABSENT
        if instance.uuid in strays:
            return Observed.WRONG_NODE
        guest = seen.get(instance.uuid)
        if guest is None:
            return Observed.ABSENT
        return Observed.USER_SHUTDOWN if guest.state == "user_down" else Observed.RUNNING

    return observed


def _status(view: View) -> Getter:
    enabled = view.cluster.settings.enabled_user_shutdown
    observed = observer(view)
    known: dict[tuple[Any, ...], Cell] = {}

    def cell(instance: Instance) -> Cell:
        allowed = enabled and user_shutdown_allowed(
            enabled=enabled, hypervisor=instance.hypervisor, hvparams=dict(view.hv(instance))
        )
        case = (instance.admin_state, observed(instance), instance.admin_state_source, allowed)
        found = known.get(case)
        if found is None:
            state, seen, source, _ = case
            found = (NORMAL, instance_status(state, seen, source=source, user_shutdown=allowed))
            known[case] = found
        return found

    return cell


def _of_guest(get: Callable[[GuestFacts | None], Cell]) -> Bind:
    """Bind what the guest gives, None standing for one that no node knows."""

    def bind(view: View) -> Getter:
        offline, guests, strays = view.offline, view.guests, view.strays

        def cell(instance: Instance) -> Cell:
            primary = instance.primary_node
            if primary in offline:
                return OFFLINE
            seen = guests.get(primary)
            if seen is None:
                return NO_DATA if primary else get(None)
            return get(seen.get(instance.uuid) or strays.get(instance.uuid))

        return cell

    return bind


def _console(view: View) -> Getter:
    known = _of_guest(lambda guest: UNAVAILABLE if guest is None else YES)(view)

    def cell(instance: Instance) -> Cell:
        reachable = known(instance)
        if reachable is not YES:
            return reachable
        console = view.facts.consoles.get(instance.uuid)
        return (NORMAL, described(console)) if isinstance(console, Console) else NO_DATA

    return cell


def described(console: Console) -> dict[str, Any]:
    """Give a console with all its members, unused ones None."""
    return {name: getattr(console, name) for name in console.__struct_fields__}


LIVE: Final[list[Field]] = [
    Field("status", "Status", FieldKind.TEXT, "What is wanted and what is, in one word", _status, Asks.GUESTS),
    Field(
        "oper_state",
        "Running",
        FieldKind.BOOL,
        "Whether the hypervisor knows it",
        _of_guest(lambda guest: NO if guest is None else YES),
        Asks.GUESTS,
    ),
    Field(
        "oper_ram",
        "Memory",
        FieldKind.UNIT,
        "Memory that it has now",
        _of_guest(lambda guest: UNAVAILABLE if guest is None else (NORMAL, guest.memory)),
        Asks.GUESTS,
    ),
    Field(
        "oper_vcpus",
        "VCPUs",
        FieldKind.NUMBER,
        "Processors that it has now",
        _of_guest(lambda guest: UNAVAILABLE if guest is None else (NORMAL, guest.vcpus)),
        Asks.GUESTS,
    ),
    Field(
        "console",
        "Console",
        FieldKind.OTHER,
        "How to reach its console, while it runs",
        _console,
        Asks.GUESTS | Asks.CONSOLES,
    ),
]
