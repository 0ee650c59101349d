"""What of an object is secret: private guest OS parameters and the shared secrets of drbd disks.

The object's row, which has history and may be exported, holds a placeholder in their place. They stand in a row of
`Space.SECRET` under `object/<kind>/<uuid>`: JSON with a member of the name of the slot, or with `drbd`, the secrets of
a disk and its parts in the order in which these follow each other.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gnt.model.cluster import encode
from gnt.model.objects import ClusterSettings, ConfigObject, Disk, Instance
from gnt.model.secret import REDACTED, redacted_values

PREFIX: Final = "object/"
_SLOTS: Final = {"instance": "osparams_private", "cluster": "osparams_private_cluster"}
# Only the logical id of a drbd disk has six items; the last is its secret.
_DRBD_ITEMS: Final = 6


def secret_key(object_key: str) -> str:
    """Give the key of the secrets of the object whose row is `<kind>/<uuid>`."""
    return PREFIX + object_key


def split(kind: str, obj: ConfigObject) -> tuple[bytes, bytes | None]:
    """Give what stands in the object's row and what in the row of its secrets; None: it has none."""
    data = encode(obj)
    return split_row(kind, data) if has_secret(obj) else (data, None)


def secret_of(kind: str, obj: ConfigObject) -> bytes | None:
    """Give what stands in the row of an object's secrets; None: it has none."""
    return split(kind, obj)[1] if has_secret(obj) else None


def has_secret(obj: ConfigObject) -> bool:
    """Say whether anything of an object is secret."""
    if isinstance(obj, Instance):
        return bool(obj.osparams_private)
    if isinstance(obj, ClusterSettings):
        return bool(obj.osparams_private_cluster)
    return isinstance(obj, Disk) and (len(obj.logical_id) == _DRBD_ITEMS or any(map(has_secret, obj.children)))


def split_row(kind: str, data: bytes) -> tuple[bytes, bytes | None]:
    """Do the same to the JSON of a whole object."""
    values: dict[str, Any] = msgspec.json.decode(data)
    secrets: dict[str, Any] = {}
    slot = _SLOTS.get(kind)
    if slot is not None and values.get(slot):
        secrets[slot], values[slot] = values[slot], redacted_values(values[slot])
    if kind == "disk":
        places = _drbd_places(values)
        if places:
            secrets["drbd"] = [place[-1] for place in places]
            for place in places:
                place[-1] = REDACTED
    return (msgspec.json.encode(values), msgspec.json.encode(secrets)) if secrets else (data, None)


def join_row(kind: str, data: bytes, secret: bytes | None) -> bytes:
    """Give the JSON of a whole object. Without its secrets (a copy that has none) private parameters are left out."""
    slot = _SLOTS.get(kind)
    if secret is None and (slot is None or REDACTED.encode() not in data):
        return data
    values: dict[str, Any] = msgspec.json.decode(data)
    secrets: dict[str, Any] = {} if secret is None else msgspec.json.decode(secret)
    if slot is not None:
        values[slot] = secrets.get(slot, {})
    if kind == "disk":
        for place, item in zip(_drbd_places(values), secrets.get("drbd", ()), strict=False):
            place[-1] = item
    return msgspec.json.encode(values)


def _drbd_places(disk: dict[str, Any]) -> list[list[Any]]:
    """Give the logical ids that end in a secret, those of a disk and its parts."""
    logical_id = disk.get("logical_id") or []
    found = [logical_id] if len(logical_id) == _DRBD_ITEMS else []
    for child in disk.get("children") or ():
        found += _drbd_places(child)
    return found
