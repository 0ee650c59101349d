"""Whether an instance may be installed with a guest OS: `spec/os-interface.md`, section 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gnt.masterd.operation import Look
from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.specs import InstanceSpec
from gnt.wire.calls import OsCheck, OsFacts, OsList


async def look_at_os(
    cluster: Cluster,
    look: Look,
    spec: InstanceSpec,
    secret: Mapping[str, object],
    *,
    force_variant: bool,
) -> list[OsFacts]:
    """Have an instance's primary node check its guest OS and all parameters; gives the definitions that are there.

    `secret` are parameters that are recorded nowhere; no failure tells their values, nor those of private ones.
    """
    node = cluster.node(spec.primary_node).uuid
    definitions = await look.ask(node, OsList())
    check_os_choice(cluster, spec.os, definitions, force_variant=force_variant)
    hidden = {**spec.osparams_private, **secret}
    texts = {key: str(value) for key, value in {**spec.osparams, **hidden}.items()}
    await look.ask(node, OsCheck(os=spec.os, parameters=texts, hidden=sorted(hidden), force_variant=force_variant))
    return definitions


def check_os_choice(cluster: Cluster, os: str, definitions: Sequence[OsFacts], *, force_variant: bool) -> None:
    """Refuse an OS that is not on the node, is broken there, blacklisted, or has no such variant.

    `os` is the name, with a variant after a plus sign; `definitions` are those of the node, the first of a name wins.
    """
    name, _, variant = os.partition("+")
    found = next((definition for definition in definitions if definition.name == name), None)
    if found is None:
        known = " ".join(sorted({definition.name for definition in definitions if definition.valid}))
        raise Refused(UNKNOWN_ENTITY, f"Guest OS {name} is not on the node", hint=f"there are: {known or 'none'}")
    if not found.valid:
        raise Refused(WRONG_STATE, f"Guest OS {name} is not usable: {found.diagnose}", hint="gnt-os diagnose")
    if not force_variant:
        blacklisted = cluster.settings.blacklisted_os
        if os in blacklisted or name in blacklisted:
            raise Refused(WRONG_STATE, f"Guest OS {os} is blacklisted", hint="gnt-os modify --blacklisted=no")
        _check_variant(found, variant)


def _check_variant(found: OsFacts, variant: str) -> None:
    offered = " ".join(found.variants)
    if not found.variants:
        if variant:
            raise Refused(WRONG_INPUT, f"OS '{found.name}' does not support variants ('{variant}' passed)")
        return
    if not variant:
        raise Refused(
            WRONG_INPUT, f"OS name '{found.name}' must include a variant", hint=f"{found.name}+VARIANT, of: {offered}"
        )
    if variant not in found.variants:
        raise Refused(
            WRONG_INPUT,
            f"OS '{found.name}' has no variant '{variant}'",
            hint=f"there are: {offered}; --force-variant takes another",
        )
