"""Options with parameters by hypervisor, by disk template or by limit, which a cluster and its groups have alike."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Option, from_opcode, option
from gnt.cli.values import (
    bounds_specs,
    comma_list,
    group_key_values,
    ident_key_values,
    ratio,
    secret_key_values,
    spec_values,
    split_spec,
)
from gnt.model.errors import WRONG_INPUT, Refused

GROUPED: Final = {
    "hvparams": "-H",
    "diskparams": "-D",
    "hv_state": "--hypervisor-state",
    "disk_state": "--disk-state",
}
"""Fields that options fill name by name, each option given as often as there are names."""

SECRET_KEY_VALUES: Final[dict[str, Any]] = {"metavar": "K=V,...|-", "parse": secret_key_values, "secret": True}
"""What an option with secret parameters takes: neither the log of commands nor the list of processes keeps it."""
LINES: Final = "-: one K=V a line from standard input"


def private_os_parameters(opcode: str) -> Option:
    """Give the option for OS parameters that are recorded and not shown."""
    said = f"OS parameters that are recorded, but never shown in logs and answers; {LINES}"
    return from_opcode(opcode, "osparams_private", "--os-parameters-private", **SECRET_KEY_VALUES, help=said)


def secret_os_parameters(opcode: str) -> tuple[Option, Option]:
    """Give that option, and the one for OS parameters that are not recorded either."""
    said = f"OS parameters that are neither shown nor recorded; they live as long as the job; {LINES}"
    secret = from_opcode(opcode, "osparams_secret", "--os-parameters-secret", **SECRET_KEY_VALUES, help=said)
    return private_os_parameters(opcode), secret


_STATE: Final[dict[str, Any]] = {"metavar": "NAME:K=V,...", "parse": ident_key_values, "repeat": True}
STATES: Final = (
    option("--hypervisor-state", **_STATE, dest="hv_state", help="figures that a hypervisor keeps for itself"),
    option("--disk-state", **_STATE, help="figures on the space of a storage"),
)

_SPLIT: Final = {
    "--specs-mem-size": "memory-size",
    "--specs-cpu-count": "cpu-count",
    "--specs-disk-count": "disk-count",
    "--specs-disk-size": "disk-size",
    "--specs-nic-count": "nic-count",
}

POLICY_OPTIONS: Final[tuple[Option, ...]] = (
    *(
        option(flag, metavar="min=,max=,std=", parse=split_spec(spec), help=f"limits of instances: {spec}")
        for flag, spec in _SPLIT.items()
    ),
    option("--ipolicy-bounds-specs", metavar="SPECS", parse=bounds_specs, help="limits: min:SPEC=V,.../max:SPEC=V,..."),
    option("--ipolicy-std-specs", metavar="SPEC=V,...", parse=spec_values, help="the usual instance"),
    option(
        "--ipolicy-disk-templates", metavar="NAME,...", parse=comma_list, help="disk templates that instances may have"
    ),
    option("--ipolicy-vcpu-ratio", metavar="N", parse=ratio, help="virtual processors for each real one"),
    option("--ipolicy-spindle-ratio", metavar="N", parse=ratio, help="spindles in use for each real one"),
)


def hypervisor_parameters(help: str) -> Option:  # noqa: A002  (the option's own word)
    """Make the option with parameters of hypervisors."""
    return option(
        "-H",
        "--hypervisor-parameters",
        metavar="HV:K=V,...",
        parse=group_key_values,
        repeat=True,
        dest="hvparams",
        help=help,
    )


def disk_parameters(help: str) -> Option:  # noqa: A002  (the option's own word)
    """Make the option with parameters of disk templates."""
    return option(
        "-D",
        "--disk-parameters",
        metavar="TEMPLATE:K=V,...",
        parse=ident_key_values,
        repeat=True,
        dest="diskparams",
        help=help,
    )


def grouped(
    call: Call, dest: str, flag: str, no: str = "parameters are taken back one by one: {ident}:NAME=default"
) -> dict[str, Any] | None:
    """Put the values of a repeated option together by their name; `no` says why `no_NAME` is refused."""
    given = call.option(dest)
    if given is None:
        return None
    found: dict[str, Any] = {}
    for ident, values in given:
        if values is None:
            raise Refused(WRONG_INPUT, f"{flag} no_{ident}: {no.format(ident=ident)}")
        if ident in found:
            raise Refused(WRONG_INPUT, f"{flag} {ident} is given twice")
        found[ident] = values
    return found


def policy_of(call: Call) -> dict[str, Any] | None:
    """Give the instance policy that options describe: full or split specifications, and the rest."""
    split = {spec: call.option(flag.lstrip("-").replace("-", "_")) for flag, spec in _SPLIT.items()}
    split = {spec: bounds for spec, bounds in split.items() if bounds is not None}
    bounds, std = call.option("ipolicy_bounds_specs"), call.option("ipolicy_std_specs")
    if split and (bounds is not None or std is not None):
        raise Refused(WRONG_INPUT, "--specs-… and --ipolicy-…-specs exclude each other")
    policy: dict[str, Any] = {
        "minmax": _completed(split) if split else bounds,
        "std": {spec: values["std"] for spec, values in split.items() if "std" in values} or std,
        "disk-templates": call.option("ipolicy_disk_templates"),
        "vcpu-ratio": call.option("ipolicy_vcpu_ratio"),
        "spindle-ratio": call.option("ipolicy_spindle_ratio"),
    }
    given = {key: value for key, value in policy.items() if value is not None}
    return given or None


def _completed(split: dict[str, dict[str, int]]) -> list[dict[str, dict[str, int]]]:
    """Give the one pair of bounds that split specifications stand for: what is left out is as built in."""
    from gnt.model.params_tables import IPOLICY  # noqa: PLC0415  (only this form needs what is built in)

    (built_in,) = IPOLICY["minmax"]
    return [
        {
            bound: {spec: split.get(spec, {}).get(bound, value) for spec, value in built_in[bound].items()}
            for bound in ("min", "max")
        }
    ]
