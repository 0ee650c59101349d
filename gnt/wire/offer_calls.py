"""Node calls about what a node has to offer beside guest OS definitions: exports, external storage providers."""

from __future__ import annotations

import msgspec

from gnt.wire.calls import FAST, NodeCall


class ExportList(NodeCall[list[str]], tag="export_list", frozen=True, kw_only=True):
    """List the names in the node's export directory, sorted; one that is still being written is among them."""

    CHANGES = False
    DEADLINE = FAST


class ExtStorageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An external storage provider found on a node: spec/storage.md, section 9. `parameters` each with its text."""

    name: str
    path: str
    valid: bool
    diagnose: str = ""
    parameters: list[tuple[str, str]] = []


class ExtStorageList(NodeCall[list[ExtStorageFacts]], tag="ext_storage_list", frozen=True, kw_only=True):
    """List all external storage providers of this node, shadowed and broken ones too."""

    CHANGES = False
    DEADLINE = FAST
