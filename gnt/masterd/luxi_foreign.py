"""What clients of the original are told about what it never had.

Some of them, htools first of all, refuse a whole answer for one word that they do not know. So a disk template of ours
is called by the name of the one that behaves most like it, and left out where templates are listed. Our own clients say
who they are, and are told everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gnt.model.objects import DiskTemplate

LIKE: Final[Mapping[str, str]] = {DiskTemplate.QCOW2: "file", DiskTemplate.THIN: "plain"}
"""Templates that the original does not have, and those that are as local, as big and as movable."""

TEMPLATES: Final = "disk-templates"


def as_foreign(method: str, args: Sequence[Any], result: Any) -> Any:
    """Give the answer to a request (its method and arguments) as a client of the original can read it."""
    match method:
        case "Query":
            names = [field["name"] for field in result["fields"]]
            return {**result, "data": _rows(names, result["data"], _cell)}
        case "QueryInstances" | "QueryGroups":
            return _rows(args[1], result, lambda translate, value: translate(value))
        case "QueryClusterInfo":
            return {name: _OF_CLUSTER[name](value) if name in _OF_CLUSTER else value for name, value in result.items()}
    return result


Translate = Callable[[Any], Any]


def _cell(translate: Translate, cell: tuple[int, Any]) -> tuple[int, Any]:
    status, value = cell
    return (status, translate(value))


def _rows(
    names: Sequence[str], rows: Sequence[Any], apply: Callable[[Callable[[Any], Any], Any], Any]
) -> Sequence[Any]:
    """Translate the columns that need it; rows without them are given as they are."""
    columns = {
        number: translate
        for number, translate in ((number, _FIELDS[name]) for number, name in enumerate(names) if name in _FIELDS)
        if any(apply(translate, row[number]) != row[number] for row in rows)
    }
    if not columns:  # nearly always, and an answer may have many rows
        return rows
    return [
        [apply(columns[number], cell) if number in columns else cell for number, cell in enumerate(row)] for row in rows
    ]


def _template(name: Any) -> Any:
    return LIKE.get(name, name) if isinstance(name, str) else name


def _known(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in LIKE]


def _policy(policy: Any) -> Any:
    if not isinstance(policy, Mapping) or TEMPLATES not in policy:
        return policy
    return {**policy, TEMPLATES: _known(policy[TEMPLATES])}


def _by_template(parameters: Any) -> Any:
    if not isinstance(parameters, Mapping):
        return parameters
    return {template: value for template, value in parameters.items() if template not in LIKE}


_FIELDS: Final[Mapping[str, Translate]] = {
    "disk_template": _template,
    "ipolicy": _policy,
    "custom_ipolicy": _policy,
    "diskparams": _by_template,
    "custom_diskparams": _by_template,
}
_OF_CLUSTER: Final[Mapping[str, Translate]] = {**_FIELDS, "enabled_disk_templates": _known}
