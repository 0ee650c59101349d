"""How parameters fill in, and how requests to set them are checked: `spec/config.md`, section 3.

`fill_*` give complete parameters: what is built in, then what the cluster, the group and the object say, later wins.
`check_*` take what was asked for and what is set already, and give what is to be set: types made right (`4G`, `yes`),
the word `default` removing an override. Each raises `Refused` (`wrong_input`) in one line that names the parameter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.objects import Disk, DiskTemplate, Nic, NicMode, Node, NodeGroup, Params
from gnt.model.params_checks import hv_problems, is_normal_path, value_problem
from gnt.model.params_tables import BACKEND, DISK, HYPERVISOR, NIC, NODE, REMOVED, Parameter, ParamType, Table
from gnt.model.units import parse_size

DEFAULT = "default"
"""The word that removes an override; also the key of the cluster's backend and nic parameters."""

_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_INT_LIMIT = 2**53


class Level(StrEnum):
    """Where parameters are being set."""

    CLUSTER = "cluster"
    GROUP = "group"
    OBJECT = "object"


# Filling in


def defaults(table: Table) -> dict[str, Any]:
    """Give the built-in values of a table."""
    return {name: parameter.default for name, parameter in table.items()}


def _without_global(table: Table, values: Params) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in table or not table[name].cluster_only}


def fill_hv(cluster: Cluster, hypervisor: str, os: str, overrides: Params) -> dict[str, Any]:
    """Give complete hypervisor parameters; those for the cluster only are not overridden by guest OS or instance.

    `os` is the guest OS with or without variant: what is set for the OS comes before what is set for the variant.
    """
    table, settings = HYPERVISOR[hypervisor], cluster.settings
    filled = {**defaults(table), **settings.hvparams.get(hypervisor, {})}
    for name in _os_names(os):
        filled.update(_without_global(table, settings.os_hvp.get(name, {}).get(hypervisor, {})))
    filled.update(_without_global(table, overrides))
    return filled


def fill_be(cluster: Cluster, overrides: Params) -> dict[str, Any]:
    """Give complete backend parameters; memory is MiB."""
    return {**defaults(BACKEND), **cluster.settings.beparams.get(DEFAULT, {}), **overrides}


def fill_nic(cluster: Cluster, group: NodeGroup | None, nic: Nic) -> dict[str, Any]:
    """Give mode, link and vlan of an interface; `group` is that of its instance's primary node."""
    connection = group.networks.get(nic.network, {}) if group is not None and nic.network else {}
    return {**defaults(NIC), **cluster.settings.nicparams.get(DEFAULT, {}), **connection, **nic.nicparams}


def fill_nd(cluster: Cluster, node: Node) -> dict[str, Any]:
    """Give complete node parameters."""
    group = cluster.groups.get(node.group)
    return {**fill_group_nd(cluster, group), **_without_global(NODE, node.ndparams)}


def fill_group_nd(cluster: Cluster, group: NodeGroup | None) -> dict[str, Any]:
    """Give the node parameters that a group's nodes inherit."""
    return {**defaults(NODE), **cluster.settings.ndparams, **(group.ndparams if group is not None else {})}


def fill_disk(cluster: Cluster, group: NodeGroup | None, template: str, overrides: Params) -> dict[str, Any]:
    """Give complete disk parameters of a template, under their names in cluster and group."""
    own = group.diskparams.get(template, {}) if group is not None else {}
    return {**defaults(DISK[template]), **cluster.settings.diskparams.get(template, {}), **own, **overrides}


class FilledOs(NamedTuple):
    """The parameters that a guest OS sees; the private ones must not be shown."""

    public: dict[str, Any]
    private: dict[str, Any]


def fill_os(cluster: Cluster, os: str, overrides: Params, private: Params) -> FilledOs:
    """Give complete guest OS parameters: of the OS, of the variant, of the instance."""
    settings = cluster.settings
    public: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    for name in _os_names(os):
        public.update(settings.osparams.get(name, {}))
        hidden.update(settings.osparams_private_cluster.get(name, {}))
    return FilledOs({**public, **overrides}, {**hidden, **private})


def _os_names(os: str) -> tuple[str, ...]:
    base, plus, _variant = os.partition("+")
    return (base, os) if plus else (os,)


_DRBD_DEVICE_KEYS = {
    "disk-barriers": "disabled-barriers",
    "meta-barriers": "disable-meta-flush",
    "metavg": "default-metavg",
}
_DRBD_CHILD_KEYS = ("data-stripes", "meta-stripes")


def device_params(cluster: Cluster, group: NodeGroup | None, disk: Disk) -> dict[str, Any]:
    """Give the parameters of a disk under the names that a device has them: `spec/storage.md`, section 1.2."""
    filled = fill_disk(cluster, group, disk.dev_type, disk.params)
    if disk.dev_type is not DiskTemplate.DRBD:
        return filled
    return {_DRBD_DEVICE_KEYS.get(key, key): value for key, value in filled.items() if key not in _DRBD_CHILD_KEYS}


def drbd_child_params(cluster: Cluster, group: NodeGroup | None, disk: Disk) -> tuple[dict[str, Any], ...]:
    """Give the device parameters of the data and the metadata volume of a drbd disk."""
    filled = fill_disk(cluster, group, disk.dev_type, disk.params)
    return tuple({"stripes": filled[key]} for key in _DRBD_CHILD_KEYS)


# Checking requests


def typed(name: str, parameter: Parameter, value: Any) -> Any:
    """Give a value in the type of its parameter, from what the command line or JSON gave."""
    result: bool | int | float | str | None
    match parameter.type:
        case ParamType.BOOL:
            result = _boolean(value)
        case ParamType.SIZE:
            is_size = isinstance(value, int | str) and not isinstance(value, bool)
            result = parse_size(value, f"parameter {name}") if is_size else None
        case ParamType.INT:
            result = _integer(value)
        case ParamType.FLOAT:
            result = _real(value)
        case ParamType.STRING:
            result = "" if value is None or value is False else value if isinstance(value, str) else None
        case ParamType.MAYBE_STRING:
            if value is None or value == "none":
                return None
            result = value if isinstance(value, str) else None
    if result is None:
        raise Refused(WRONG_INPUT, f"parameter {name} must be of type {parameter.type}, not {_shown(value)}")
    return result


def _shown(value: Any) -> str:
    """Give a value for a refusal: short, and never failing, as printing a number of thousands of digits does."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < _INT_LIMIT**2 else "a number beyond measure"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:57]}...")
    return f"a {'list' if isinstance(value, list | tuple) else 'object'}"


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _integer(value: Any) -> int | None:
    if isinstance(value, str) and len(value) <= 20:
        try:
            value = int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _INT_LIMIT:
        return None
    return value


def _real(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < _INT_LIMIT else None


def known_parameter(table: Table, name: str, what: str) -> Parameter:
    """Give the parameter of this name, or refuse it with the names that come near. `what` is for example `kvm`."""
    if name in table:
        return table[name]
    if name in REMOVED and what.startswith("xen"):
        raise Refused(WRONG_INPUT, f"{what} parameter {name} does not exist any more: {REMOVED[name]}")
    shown = name if name.isprintable() and len(name) <= 60 else repr(name[:60])
    near = difflib.get_close_matches(name, table, n=4)
    if near:
        hint = f"near it: {', '.join(near)}"
    else:
        hint = f"there are: {', '.join(sorted(table)[:12])}" if table else "it has no parameters"
    article = "an" if what[0] in "aeiou" else "a"
    raise Refused(WRONG_INPUT, f"{shown} is not {article} {what} parameter", hint=hint)


def _checked(table: Table, what: str, given: Params, current: Params, *, global_too: bool) -> dict[str, Any]:
    """Give `current` with `given` set: known names, right types, `default` (or null) removing an override."""
    result = dict(current)
    for name, value in given.items():
        parameter = known_parameter(table, name, what)
        if parameter.cluster_only and not global_too:
            raise Refused(WRONG_INPUT, f"{what} parameter {name} can only be set for all at once, not here")
        if value == DEFAULT or (value is None and parameter.type is not ParamType.MAYBE_STRING):
            result.pop(name, None)
        else:
            result[name] = typed(name, parameter, value)
    return result


def check_hv(
    hypervisor: str, given: Params, current: Params | None = None, *, level: Level = Level.OBJECT
) -> dict[str, Any]:
    """Give hypervisor parameters to store: `current` with `given` set, every given value of the right form.

    How the values fit together is asked of the complete set: `refuse_bad_hv`.
    """
    if hypervisor not in HYPERVISOR:
        raise Refused(WRONG_INPUT, f"{hypervisor[:60]} is not a hypervisor", hint=f"there are: {', '.join(HYPERVISOR)}")
    table = HYPERVISOR[hypervisor]
    result = _checked(table, hypervisor, given, current or {}, global_too=level is Level.CLUSTER)
    for name in given:
        problem = value_problem(hypervisor, name, result[name]) if name in result else None
        if problem:
            raise Refused(WRONG_INPUT, f"{hypervisor}: {problem}")
    return result


def refuse_bad_hv(hypervisor: str, filled: Params) -> None:
    """Refuse complete hypervisor parameters that do not fit together, naming the first fault."""
    problems = hv_problems(hypervisor, filled)
    if problems:
        raise Refused(WRONG_INPUT, f"{hypervisor}: {problems[0]}", hint="; ".join(problems[1:4]))


def check_be(given: Params, current: Params | None = None) -> dict[str, Any]:
    """Give backend parameters to store. `memory` stands for both `minmem` and `maxmem`."""
    wanted = dict(given)
    if "memory" in wanted:
        if "minmem" in wanted or "maxmem" in wanted:
            raise Refused(WRONG_INPUT, "parameter memory sets minmem and maxmem, so it excludes them")
        wanted["minmem"] = wanted["maxmem"] = wanted.pop("memory")
    result = _checked(BACKEND, "backend", wanted, current or {}, global_too=True)
    problems = be_problems(result)
    if problems:
        raise Refused(WRONG_INPUT, problems[0])
    return result


def be_problems(params: Params) -> list[str]:
    """Say what is wrong with backend parameters, complete or partial."""
    found = []
    if params.get("minmem", 1) <= 0:
        found.append("parameter minmem must be more than 0")
    if params.get("maxmem", 1) <= 0:
        found.append("parameter maxmem must be more than 0")
    if "minmem" in params and "maxmem" in params and params["maxmem"] < params["minmem"]:
        found.append(f"parameter maxmem ({params['maxmem']} MiB) is less than minmem ({params['minmem']} MiB)")
    if params.get("vcpus", 1) < 1:
        found.append("parameter vcpus must be at least 1")
    if params.get("spindle_use", 0) < 0:
        found.append("parameter spindle_use must not be negative")
    return found


def refuse_bad_be(filled: Params) -> None:
    """Refuse complete backend parameters that do not fit together."""
    problems = be_problems(filled)
    if problems:
        raise Refused(WRONG_INPUT, problems[0])


def check_nic(given: Params, current: Params | None = None) -> dict[str, Any]:
    """Give nic parameters (`mode`, `link`, `vlan`) to store."""
    result = _checked(NIC, "nic", given, current or {}, global_too=True)
    if "mode" in result and result["mode"] not in list(NicMode):
        raise Refused(WRONG_INPUT, f"Invalid NIC mode '{result['mode']}'", hint=f"there are: {', '.join(NicMode)}")
    if "link" in result:
        _refuse_bad_link(result["link"])
    if "vlan" in result:
        result["vlan"] = normal_vlan(result["vlan"])
    return result


def _refuse_bad_link(link: str) -> None:
    if len(link) > 64 or link[:1] == "-" or not link.isprintable() or set(link) & set(" /'\"\\"):
        raise Refused(WRONG_INPUT, f"nic parameter link {link[:64]!r} is not a bridge, switch or table name")


def normal_vlan(text: str) -> str:
    """Give a vlan as it is stored: nothing, `.N` access, `:N1:N2` trunk, `.N:N1` both; a number alone is access."""
    spelled = f".{text}" if text.isascii() and text.isdigit() else text
    parts = spelled[1:].split(":") if spelled else []
    numbers = [int(part) if part.isascii() and part.isdigit() and len(part) <= 4 else 0 for part in parts]
    if spelled and (spelled[0] not in ".:" or not all(0 < number < 4095 for number in numbers)):
        raise Refused(WRONG_INPUT, f"nic parameter vlan {text[:60]!r} is not well-formed", hint=".5, :5:6 or .5:6:7")
    return spelled


def nic_problems(filled: Params, *, ip: str | None = None, network: str | None = None) -> list[str]:
    """Say what is wrong with the complete parameters of an interface."""
    found = []
    if filled["mode"] not in list(NicMode):
        found.append(f"Invalid NIC mode '{filled['mode']}'")
    if filled["mode"] in (NicMode.BRIDGED, NicMode.OPENVSWITCH) and not filled["link"]:
        found.append(f"Missing {filled['mode']} NIC link")
    if filled["mode"] == NicMode.ROUTED and not ip and not network:
        found.append("Routed nic mode requires an ip address if not attached to a network")
    return found


def check_nd(given: Params, current: Params | None = None, *, level: Level = Level.OBJECT) -> dict[str, Any]:
    """Give node parameters to store; `exclusive_storage` only for cluster or group."""
    result = _checked(NODE, "node", given, current or {}, global_too=level is not Level.OBJECT)
    problems = nd_problems(result)
    if problems:
        raise Refused(WRONG_INPUT, problems[0])
    return result


def nd_problems(params: Params) -> list[str]:
    """Say what is wrong with node parameters, complete or partial."""
    found = []
    if params.get("oob_program") and not is_normal_path(params["oob_program"]):
        found.append("node parameter oob_program must be an absolute normalized path")
    if not 0 < params.get("ssh_port", 22) < 65536:
        found.append("node parameter ssh_port must be a port number")
    if params.get("spindle_count", 0) < 0:
        found.append("node parameter spindle_count must not be negative")
    if not params.get("cpu_speed", 1.0) > 0:
        found.append("node parameter cpu_speed must be more than 0")
    return found


def check_disk(template: str, given: Params, current: Params | None = None) -> dict[str, Any]:
    """Give disk parameters of a template to store, for cluster or group."""
    if template not in DISK:
        raise Refused(WRONG_INPUT, f"{template[:60]} is not a disk template", hint=f"there are: {', '.join(DISK)}")
    result = _checked(DISK[template], f"{template} disk", given, current or {}, global_too=True)
    problems = disk_problems(template, result)
    if problems:
        raise Refused(WRONG_INPUT, problems[0])
    return result


_POOL: Final = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]*")


def disk_problems(template: str, params: Params) -> list[str]:
    """Say what is wrong with disk parameters, complete or partial."""
    found = []
    if params.get("access", "kernelspace") not in {"kernelspace", "userspace"}:
        found.append(f"{template} parameter access must be kernelspace or userspace")
    if not _POOL.fullmatch(params.get("pool", "rbd")):
        found.append(f"{template} parameter pool must be a name: letters, digits and _ . + -, but no - first")
    if params.get("protocol", "C") not in {"A", "B", "C"}:
        found.append(f"{template} parameter protocol must be A, B or C")
    barriers = params.get("disk-barriers", "n")
    if barriers != "n" and (not barriers or len(set(barriers)) < len(barriers) or not set(barriers) <= set("bdf")):
        found.append(f"{template} parameter disk-barriers must be n, or letters of b, d, f")
    if params.get("dynamic-resync", False) and params.get("c-plan-ahead", 20) == 0:
        # DRBD's own word for a fixed rate: no mirror would be set up with both.
        found.append(f"{template} parameter dynamic-resync needs a c-plan-ahead above 0")
    if not 0 < params.get("port", 1) < 65536:
        found.append(f"{template} parameter port must be a port number")
    found.extend(
        f"{template} parameter {name} must be at least 1"
        for name in ("stripes", "data-stripes", "meta-stripes")
        if params.get(name, 1) < 1
    )
    found.extend(
        f"{template} parameter {name} must not be negative"
        for name, value in params.items()
        if isinstance(value, int) and value < 0
    )
    return found


def check_os(given: Mapping[str, Any], current: Params | None = None) -> dict[str, str]:
    """Give guest OS parameters to store: any names of letters, digits, `_` and `-`, texts as values."""
    result = {str(name): str(value) for name, value in (current or {}).items()}
    for name, value in given.items():
        if not name or not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
            raise Refused(WRONG_INPUT, f"{name[:60]!r} is not the name of a guest OS parameter")
        if value is None or value == DEFAULT:
            result.pop(name, None)
        elif isinstance(value, str | int | float):
            result[name] = str(value)
        else:
            raise Refused(WRONG_INPUT, f"guest OS parameter {name} must be a text")
    return result
