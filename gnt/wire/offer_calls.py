"""The node call about exports. What else nodes offer: guest OS definitions (`calls`), providers (`disk_calls`)."""

from __future__ import annotations

from gnt.wire.calls import FAST, NodeCall


class ExportList(NodeCall[list[str]], tag="export_list", frozen=True, kw_only=True):
    """List the names in the node's export directory, sorted; one that is still being written is among them."""

    CHANGES = False
    DEADLINE = FAST
