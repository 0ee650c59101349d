"""Opcodes that read: generic queries and what nodes offer."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.fields import Names, OutputFields, UseLocking, What
from gnt.opcodes.parameter_types import Name


class Query(Opcode, frozen=True, kw_only=True, tag="OP_QUERY"):
    """Ask for fields of all objects of a kind that pass a filter."""

    SUMMARY_FIELD: ClassVar[str] = "what"
    SINCE: ClassVar[str] = "2.4"

    what: What
    use_locking: UseLocking = False
    fields: Annotated[tuple[Name, ...], Doc("names of the fields, in the order of the answer")]
    qfilter: Annotated[list[Any] | None, Doc("filter that rows must pass; left out, all rows")] = None


class QueryFields(Opcode, frozen=True, kw_only=True, tag="OP_QUERY_FIELDS"):
    """Ask which fields objects of a kind have."""

    SUMMARY_FIELD: ClassVar[str] = "what"
    SINCE: ClassVar[str] = "2.4"

    what: What
    fields: Annotated[tuple[Name, ...] | None, Doc("names of the fields to describe; left out, all of them")] = None


class OsDiagnose(Opcode, frozen=True, kw_only=True, tag="OP_OS_DIAGNOSE"):
    """Describe the guest OS definitions that the nodes have."""

    output_fields: OutputFields
    names: Names = ()


class ExtStorageDiagnose(Opcode, frozen=True, kw_only=True, tag="OP_EXT_STORAGE_DIAGNOSE"):
    """Describe the external storage providers that the nodes have."""

    SINCE: ClassVar[str] = "2.7"

    output_fields: OutputFields
    names: Names = ()
