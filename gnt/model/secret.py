"""What must not be seen: how structs that carry secrets show themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import msgspec

REDACTED: Final = "<redacted>"


def guarded_repr(struct: msgspec.Struct, hidden: Mapping[str, Any]) -> str:
    """Give the usual representation of a struct, with the fields in `hidden` shown as the values given there."""
    fields = ", ".join(
        f"{name}={hidden[name] if name in hidden else getattr(struct, name)!r}" for name in struct.__struct_fields__
    )
    return f"{type(struct).__name__}({fields})"


def redacted_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the keys of a mapping and hide every value; nested mappings keep their keys too."""
    return {key: redacted_values(value) if isinstance(value, Mapping) else REDACTED for key, value in values.items()}


def redacted_logical_id(logical_id: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Hide the shared secret in the logical id of a drbd disk, its sixth item; no other template has six."""
    return (*logical_id[:5], REDACTED) if len(logical_id) == 6 else logical_id
