"""All opcodes, and their way to JSON and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, Union

import msgspec

from gnt.model.errors import WRONG_INPUT, Refused
from gnt.opcodes import (
    backup,
    cluster,
    cluster_modify,
    group,
    instance,
    instance_create,
    instance_disks,
    instance_modify,
    instance_move,
    instance_power,
    network,
    node,
    node_storage,
    query,
    tags,
    test,
    verify,
)
from gnt.opcodes.base import HIDDEN_PARAMETERS, Opcode, bad_parameter, hide
from gnt.opcodes.faults import AS_A_KEY, in_words
from gnt.opcodes.parameters import opcode_parameters, parameter_keys

MAX_DEPTH: Final = 64
MAX_BYTES: Final = 16 * 1024 * 1024

_MODULES: Final = (
    backup,
    cluster,
    cluster_modify,
    group,
    instance,
    instance_create,
    instance_disks,
    instance_modify,
    instance_move,
    instance_power,
    network,
    node,
    node_storage,
    query,
    tags,
    test,
    verify,
)

AnyClass = TypeVar("AnyClass", bound=Opcode)


def _declared(module: ModuleType) -> list[type[Opcode]]:
    """Give the opcodes that a module declares, not the base classes that it imports."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Opcode) and value.__module__ == module.__name__
    ]


ALL: Final[dict[str, type[Opcode]]] = {
    opcode.op_id(): opcode
    for opcode in sorted((o for module in _MODULES for o in _declared(module)), key=lambda opcode: opcode.op_id())
}

if TYPE_CHECKING:
    AnyOpcode: TypeAlias = Opcode
else:
    # For fields of structs and for msgspec, which then picks the class by its OP_ID.
    AnyOpcode = Union[tuple(ALL.values())]  # noqa: UP007  (the members are known only here)


OLDER: Final[dict[str, dict[str, Callable[[Any], dict[str, Any]]]]] = {
    "OP_CLUSTER_RENEW_CRYPTO": {"ssh_keys": lambda value: {"renew_ssh_keys": value}},
    "OP_GROUP_RENAME": {"old_name": lambda value: {"group_name": value}},
    "OP_INSTANCE_RENAME": {"ignore_ip": lambda value: {"ip_check": not value}},
    "OP_INSTANCE_SET_PARAMS": {"hotplug_if_possible": lambda value: {"hotplug": True, "force": True} if value else {}},
    "OP_QUERY": {"filter": lambda value: {"qfilter": value}},
    "OP_TEST_ALLOCATOR": {
        "allocator": lambda value: {"iallocator": value},
        "mem_size": lambda value: {"memory": value},
        "evac_nodes": lambda value: {"instances": value},
    },
}
"""Parameters that clients of older releases send, and what they are called since; null says nothing."""


def decode_opcode(source: bytes | str | dict[str, Any]) -> Opcode:
    """Make an opcode from a JSON object, or from its text.

    Parameters that are missing get their defaults. Raises `Refused` (`wrong_input`) with the opcode and the path of
    the fault, as in `OP_INSTANCE_GROW_DISK: $.amount: expected int >= 0`.
    """
    value = source if isinstance(source, dict) else _parse(source)
    if too_deep(value):
        raise Refused(WRONG_INPUT, f"opcode is nested more than {MAX_DEPTH} levels deep")
    return _convert(_of_today(value), _class_of(value))


def _of_today(value: Any) -> Any:
    """Give the JSON object of an opcode with the parameters of older releases under today's names."""
    older = OLDER.get(value["OP_ID"]) if isinstance(value, dict) and isinstance(value.get("OP_ID"), str) else None
    if older is None or not older.keys() & value.keys():
        return value
    today = {name: given for name, given in value.items() if name not in older}
    for name, given in value.items():
        if name in older and given is not None:
            today |= older[name](given)
    return today


def _parse(text: bytes | str) -> Any:
    """Parse JSON text within the limits; the fault of a text is not shown, it may hold secrets."""
    if len(text) > MAX_BYTES:
        raise Refused(WRONG_INPUT, f"opcode has {len(text)} bytes, allowed are {MAX_BYTES}")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise Refused(WRONG_INPUT, f"opcode is nested more than {MAX_DEPTH} levels deep") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refused(WRONG_INPUT, f"opcode is not JSON: {error}") from None


def too_deep(value: Any, limit: int = MAX_DEPTH) -> bool:
    """Say whether a JSON value has more than `limit` levels of lists and objects, without recursion."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list | tuple)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list | tuple) for item in level)


def _class_of(value: Any) -> type[Opcode]:
    """Find the class that the value's OP_ID names."""
    if not isinstance(value, dict):
        raise Refused(WRONG_INPUT, f"$: expected an opcode object, got {_json_kind(value)}")
    op_id = value.get("OP_ID")
    if op_id is None:
        raise Refused(WRONG_INPUT, "$.OP_ID: required, but missing")
    if not isinstance(op_id, str):
        raise Refused(WRONG_INPUT, f"$.OP_ID: expected str, got {_json_kind(op_id)}")
    found = ALL.get(op_id)
    if found is None:
        raise Refused(WRONG_INPUT, f"$.OP_ID: no opcode {op_id[:80]!r}", hint=_did_you_mean(op_id, list(ALL)))
    return found


def _json_kind(value: Any) -> str:
    names = {dict: "object", list: "array", tuple: "array", str: "str", bool: "bool", int: "int", float: "float"}
    return names.get(type(value), "null")


def _convert(value: dict[str, Any], wanted: type[AnyClass]) -> AnyClass:
    """Make the struct; say unknown parameters by name, then whatever msgspec finds."""
    op_id = wanted.op_id()
    known = wanted.__struct_fields__
    for name in value:
        if name != "OP_ID" and name not in known:
            hint = _did_you_mean(str(name), list(known))
            raise bad_parameter(op_id, f"$.{str(name)[:80]}", "no such parameter", hint=hint)
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        path, text = in_words(str(error))
        raise bad_parameter(op_id, path, text, hint=_allowed(wanted, path, text)) from None
    except RecursionError:
        raise Refused(WRONG_INPUT, f"{op_id}: nested more than {MAX_DEPTH} levels deep") from None


def _allowed(opcode: type[Opcode], path: str, text: str) -> str:
    """Give the values of the enumeration that the parameter at `path` has, or its keys, as a hint; else nothing."""
    name = path.removeprefix("$.").partition("[")[0].partition(".")[0]
    if text.endswith(AS_A_KEY):
        choices: Sequence[str | int] = parameter_keys(opcode, name)
    else:
        choices = next((known.choices for known in opcode_parameters(opcode) if known.name == name), ())
    return f"one of {', '.join(map(str, choices))}" if choices else ""


def _did_you_mean(word: str, words: list[str]) -> str:
    """Give the words that a person may have meant, as a hint; empty if none is near."""
    import difflib  # noqa: PLC0415  (only mistakes pay for it)

    near = difflib.get_close_matches(word[:80], words, n=3, cutoff=0.7)
    return f"did you mean {', '.join(near)}?" if near else ""


def encode_opcode(opcode: Opcode) -> dict[str, Any]:
    """Give the JSON object of an opcode with all its parameters, as job files and requests carry it.

    Secret values are in it: `redacted` is for showing, `without_secrets` for keeping.
    """
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(opcode, order="deterministic"))
    return plain


def redacted(opcode: Opcode) -> dict[str, Any]:
    """Give the JSON object of an opcode for people: private and secret values are `<redacted>`."""
    shown: dict[str, Any] = hide(encode_opcode(opcode), HIDDEN_PARAMETERS)
    return shown


def without_secrets(opcode: Opcode) -> Opcode:
    """Give the opcode with private and secret values replaced by `<redacted>`, to be kept with the job."""
    return _convert(redacted(opcode), type(opcode))


def secrets_of(opcode: Opcode) -> dict[str, Any]:
    """Give the parameters that `without_secrets` changes, whole and by name; empty if there is nothing to hide."""
    plain = encode_opcode(opcode)
    hidden = hide(plain, HIDDEN_PARAMETERS)
    return {name: value for name, value in plain.items() if hidden[name] != value}


def with_secrets(opcode: Opcode, secrets: dict[str, Any]) -> Opcode:
    """Put back what `secrets_of` gave."""
    return _convert({**encode_opcode(opcode), **secrets}, type(opcode))
