"""Opcodes about tags."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.fields import Kind, UseLocking


class TagsGet(Opcode, frozen=True, kw_only=True, tag="OP_TAGS_GET"):
    """List the tags of an object."""

    SUMMARY_FIELD: ClassVar[str] = "name"

    kind: Kind
    use_locking: UseLocking = False
    name: Annotated[str | None, Doc("name of the tagged object; none for the cluster")] = None


class TagsSearch(Opcode, frozen=True, kw_only=True, tag="OP_TAGS_SEARCH"):
    """Find the objects that carry matching tags."""

    SUMMARY_FIELD: ClassVar[str] = "pattern"

    pattern: Annotated[str, Doc("regular expression that is searched for in tags", min_length=1)]


class TagsSet(Opcode, frozen=True, kw_only=True, tag="OP_TAGS_SET"):
    """Put tags on an object."""

    kind: Kind
    tags: Annotated[tuple[str, ...], Doc("tags to put on")]
    name: Annotated[str | None, Doc("name of the tagged object; none for the cluster")] = None


class TagsDel(Opcode, frozen=True, kw_only=True, tag="OP_TAGS_DEL"):
    """Take tags off an object; all of them must be there."""

    kind: Kind
    tags: Annotated[tuple[str, ...], Doc("tags to take off")]
    name: Annotated[str | None, Doc("name of the tagged object; none for the cluster")] = None
