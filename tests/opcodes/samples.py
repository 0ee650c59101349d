"""Samples that a type of `opcodes.json` accepts and refuses, made from the text of the type alone."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPEC: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "opcodes.json").read_text())
OPCODES: dict[str, Any] = {name: value for name, value in SPEC.items() if name.startswith("OP_")}
# What gnt has besides: each with its reason in docs/decisions.
_OURS: dict[str, tuple[str, ...]] = {
    "OP_CLUSTER_RENEW_CRYPTO": ("cluster_certificate", "rapi_certificate", "rapi_certificate_given")
}
for _op_id, _names in _OURS.items():
    OPCODES[_op_id]["params"].update({name: {"type": "bool", "default": False} for name in _names})
OPCODES["OP_INSTANCE_FAILOVER"]["params"]["confirm_off"] = {"type": "str|null", "default": None}
COMMON: dict[str, Any] = SPEC["_common_params"]

ANYTHING: tuple[Any, ...] = (None, True, 7, -7, 1.5, "", "text", [], ["x"], {}, {"k": "v"})

SCALARS: dict[str, list[Any]] = {
    "bool": [True, False],
    "int": [0, 7, -7],
    "int>=0": [0, 7],
    "int>0": [1, 7],
    "float": [1.5, 7, 0, -7],
    "str": ["", "text"],
    "str+": ["text"],
    "disk_index": [0, 7, 15],
    "null": [None],
    "ipv4": ["192.0.2.1"],
    "ipv6": ["2001:db8::1"],
    "ipv4net": ["192.0.2.0/24"],
    "ipv6net": ["2001:db8::/64"],
    "nic_params": [{}, {"mac": "auto", "ip": None, "link": "br0"}],
    "disk_params": [{}, {"size": 1024, "mode": "rw"}, {"size": "1g", "snapshot_tier": "gold", "spindles": 2}],
}
# What a careless declaration would let through.
NEAR_MISSES: dict[str, list[Any]] = {
    "int>=0": [-1],
    "int>0": [0, -1],
    "str+": [""],
    "disk_index": [-1, 16],
    "float": ["1.5"],
    "bool": [0, 1, "true"],
    "ipv4": ["192.0.2.300", "2001:db8::1"],
    "ipv6": ["192.0.2.1", "2001:db8:::1"],
    "ipv4net": ["192.0.2.0", "192.0.2.0/33", "2001:db8::/64"],
    "ipv6net": ["2001:db8::", "2001:db8::/129", "192.0.2.0/24"],
    "nic_params": [{"speed": "fast"}, {"mac": 5}],
    "disk_params": [{"size": []}, {"mode": "rx"}, {"spindles": -1}, {"access": "loop"}],
}


def split_top(text: str, separator: str) -> list[str]:
    """Split a type text at the separators that stand outside all brackets."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += character in "[({"
        depth -= character in "])}"
        if character == separator and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()]


def key_and_value(text: str) -> tuple[str, str]:
    """Split the text of an object type: `{enum:colour: int}` has keys `enum:colour` and values `int`."""
    key, value = text[1:-1].split(": ", 1)
    return key, value


def good(text: str) -> list[Any]:
    """Give values that a type accepts, covering every alternative; the first one is the plainest."""
    alternatives = split_top(text, "|")
    if len(alternatives) > 1:
        return [value for alternative in alternatives for value in good(alternative)]
    if text.startswith("enum:"):
        return list(SPEC["_enums"][text[5:]])
    if text.startswith("private["):
        return good(text[8:-1])
    if text == "any":
        return ["text", *ANYTHING]
    if text.startswith("set["):
        return [[], good(text[4:-1])[:1], good(text[4:-1])]
    if text.startswith("["):
        return [[item] for item in good(text[1:-1])] + [[], good(text[1:-1])]
    if text.startswith("("):
        items = split_top(text[1:-1], ",")
        plain = [good(item)[0] for item in items]
        return [plain] + [[*plain[:i], value, *plain[i + 1 :]] for i, item in enumerate(items) for value in good(item)]
    if text.startswith("{"):
        key, value = key_and_value(text)
        return [{}] + [{name: item} for name in (good(key) if "enum" in key else ["text"]) for item in good(value)]
    return SCALARS[text]


def bad(text: str) -> list[Any]:
    """Give values that a type refuses: all sorts of JSON, and near misses at every depth."""
    candidates = list(ANYTHING)
    for alternative in split_top(text, "|"):
        candidates += NEAR_MISSES.get(alternative, [])
        candidates += _bad_inside(alternative)
        if alternative.startswith("enum:"):
            candidates += ["no-such-value", -999]
    return [value for value in candidates if not accepts(text, value)]


def _bad_inside(text: str) -> list[Any]:
    """Give values of the right kind that are wrong somewhere inside."""
    if text.startswith("private["):
        return bad(text[8:-1])
    if text.startswith("set["):
        return [[value] for value in bad(text[4:-1])]
    if text.startswith("["):
        return [[value] for value in bad(text[1:-1])]
    if text.startswith("("):
        items = split_top(text[1:-1], ",")
        plain = [good(item)[0] for item in items]
        wrong = [[*plain[:i], value, *plain[i + 1 :]] for i, item in enumerate(items) for value in bad(item)]
        return [plain[:-1], [*plain, "more"], *wrong]
    if text.startswith("{"):
        key, value = key_and_value(text)
        name = good(key)[0] if "enum" in key else "text"
        return [{name: item} for item in bad(value)] + [{"no-such-key": good(value)[0]}]
    return []


def accepts(text: str, value: Any) -> bool:
    """Say whether a type accepts a JSON value: what the text means, spelt out."""
    alternatives = split_top(text, "|")
    if len(alternatives) > 1:
        return any(accepts(alternative, value) for alternative in alternatives)
    if text.startswith("enum:"):
        return not isinstance(value, bool | list | dict) and value in SPEC["_enums"][text[5:]]
    if text.startswith("private["):
        return accepts(text[8:-1], value)
    if text.startswith(("[", "set[")):
        inner = text[text.index("[") + 1 : -1]
        return isinstance(value, list) and all(accepts(inner, item) for item in value)
    if text.startswith("("):
        items = split_top(text[1:-1], ",")
        return isinstance(value, list) and len(value) == len(items) and all(map(accepts, items, value))
    if text.startswith("{"):
        key, inner = key_and_value(text)
        return isinstance(value, dict) and all(
            (key == "any" or accepts(key, name)) and accepts(inner, item) for name, item in value.items()
        )
    return SCALAR_RULES[text](value)


def _is_int(value: Any, low: int | None = None, high: int | None = None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _parses(parse: Callable[[str], Any], value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _nic(value: Any) -> bool:
    keys = {"bridge", "ip", "link", "mac", "mode", "name", "network", "vlan"}
    return isinstance(value, dict) and all(k in keys and (v is None or isinstance(v, str)) for k, v in value.items())


def _disk(value: Any) -> bool:
    return isinstance(value, dict) and value not in NEAR_MISSES["disk_params"]


SCALAR_RULES: dict[str, Callable[[Any], bool]] = {
    "any": lambda _: True,
    "null": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "int": _is_int,
    "int>=0": lambda value: _is_int(value, 0),
    "int>0": lambda value: _is_int(value, 1),
    "disk_index": lambda value: _is_int(value, 0, 15),
    "float": lambda value: _is_int(value) or isinstance(value, float),
    "str": lambda value: isinstance(value, str),
    "str+": lambda value: isinstance(value, str) and value != "",
    "ipv4": lambda value: _parses(ipaddress.IPv4Address, value),
    "ipv6": lambda value: _parses(ipaddress.IPv6Address, value),
    "ipv4net": lambda value: _parses(ipaddress.IPv4Network, value) and "/" in value,
    "ipv6net": lambda value: _parses(ipaddress.IPv6Network, value) and "/" in value,
    "nic_params": _nic,
    "disk_params": _disk,
}
