"""Instance policies: what instances a cluster or group allows. `spec/config.md`, section 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.objects import DiskTemplate, NodeGroup, Params
from gnt.model.params import DEFAULT, Level, known_parameter, typed
from gnt.model.params_tables import IPOLICY, SPEC_KEYS, Parameter, ParamType

_SIZES: Final = frozenset({"memory-size", "disk-size"})
SPECS: Final = {key: Parameter(ParamType.SIZE if key in _SIZES else ParamType.INT, 0, "2.6") for key in SPEC_KEYS}
"""The values of a policy's `min`, `max` and `std`, as a table of parameters."""

_RATIOS: Final = {
    "vcpu-ratio": Parameter(ParamType.FLOAT, 4.0, "2.6"),
    "spindle-ratio": Parameter(ParamType.FLOAT, 32.0, "2.6"),
}
_TEMPLATES: Final = tuple(template for template in DiskTemplate if template is not DiskTemplate.MIXED)


def fill_ipolicy(cluster: Cluster, group: NodeGroup | None) -> dict[str, Any]:
    """Give the complete policy of a group, or of the cluster: `std` merges key by key, all else is replaced."""
    own = group.ipolicy if group is not None else {}
    filled = {**IPOLICY, **cluster.settings.ipolicy, **own}
    stds = (IPOLICY["std"], cluster.settings.ipolicy.get("std", {}), own.get("std", {}))
    filled["std"] = {key: value for std in stds for key, value in std.items()}
    return filled


def check_ipolicy(given: Params, current: Params | None = None, *, level: Level = Level.CLUSTER) -> dict[str, Any]:
    """Give a policy to store: `current` with `given` set, `default` (or null) removing what a group overrides.

    On cluster level `current` must be complete, and so is the result. Raises `Refused` (`wrong_input`).
    """
    result = dict(current or {})
    for key, value in given.items():
        if value is None or value == DEFAULT:
            if level is Level.CLUSTER:
                result[key] = IPOLICY[_known_key(key)]
            else:
                result.pop(_known_key(key), None)
            continue
        result[key] = _checked_item(_known_key(key), value, result.get(key))
    problems = ipolicy_problems(result, complete=level is Level.CLUSTER)
    if problems:
        raise Refused(WRONG_INPUT, problems[0])
    return result


def _known_key(key: str) -> str:
    if key not in IPOLICY:
        raise Refused(
            WRONG_INPUT, f"{key[:60]!r} is not a key of an instance policy", hint=f"there are: {', '.join(IPOLICY)}"
        )
    return key


def _checked_item(key: str, value: Any, current: Any) -> Any:
    match key:
        case "minmax":
            return [_checked_pair(pair) for pair in _sequence(key, value)]
        case "std":
            return {**(current or {}), **_checked_spec("std", value)}
        case "disk-templates":
            return [_template(item) for item in _sequence(key, value)]
        case _:
            return typed(f"{key} of the instance policy", _RATIOS[key], value)


def _sequence(key: str, value: Any) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        return value
    raise Refused(WRONG_INPUT, f"{key} of the instance policy must be a list")


def _template(value: Any) -> str:
    if value in _TEMPLATES:
        return str(value)
    known = ", ".join(_TEMPLATES)
    raise Refused(WRONG_INPUT, f"{str(value)[:60]} is not a disk template", hint=f"there are: {known}")


def _checked_pair(pair: Any) -> dict[str, dict[str, int]]:
    if not isinstance(pair, Mapping) or set(pair) != {"min", "max"}:
        raise Refused(WRONG_INPUT, "minmax of the instance policy must be a list of objects with min and max")
    checked = {bound: _checked_spec(bound, pair[bound]) for bound in ("max", "min")}
    for bound, spec in checked.items():
        missing = [key for key in SPEC_KEYS if key not in spec]
        if missing:
            raise Refused(WRONG_INPUT, f"{bound} of the instance policy lacks {', '.join(missing)}")
    return checked


def _checked_spec(bound: str, spec: Any) -> dict[str, int]:
    if not isinstance(spec, Mapping):
        raise Refused(WRONG_INPUT, f"{bound} of the instance policy must be an object")
    what = "instance policy"
    return {key: typed(f"{bound} {key}", known_parameter(SPECS, key, what), value) for key, value in spec.items()}


def ipolicy_problems(policy: Params, *, complete: bool) -> list[str]:
    """Say what is wrong with a policy whose types are right: bounds crossing, nothing allowed, `std` out of bounds."""
    found = [f"instance policy lacks {key}" for key in IPOLICY if complete and key not in policy]
    pairs = policy.get("minmax")
    if pairs is not None and not pairs:
        found.append("minmax of the instance policy is empty")
    for pair in pairs or ():
        found.extend(
            f"instance policy: min {key} ({pair['min'][key]}) is more than max ({pair['max'][key]})"
            for key in SPEC_KEYS
            if pair["min"][key] > pair["max"][key]
        )
    if "disk-templates" in policy and not policy["disk-templates"]:
        found.append("instance policy allows no disk template")
    found.extend(
        f"{key} of the instance policy must be more than 0" for key in _RATIOS if key in policy and not policy[key] > 0
    )
    if complete and not found and not any(_inside(policy["std"], pair) for pair in pairs or ()):
        found.append("std of the instance policy lies in none of its min and max pairs")
    return found


def stored_ipolicy_problems(policy: Params, *, complete: bool) -> list[str]:
    """Say what is wrong with a stored policy, whatever is in it: keys, types, and then how it fits together."""
    try:
        for key, value in policy.items():
            stored = list(value) if isinstance(value, tuple) else value
            if _checked_item(_known_key(key), value, None) != stored:
                return [f"{key} of the instance policy has a value of the wrong type"]
    except Refused as refusal:
        return [refusal.text]
    return ipolicy_problems(policy, complete=complete)


def _inside(spec: Params, pair: Mapping[str, Params]) -> bool:
    return all(pair["min"][key] <= value <= pair["max"][key] for key, value in spec.items())
