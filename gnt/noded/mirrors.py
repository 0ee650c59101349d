"""The calls about mirrored disks: each goes to the mirror that serves the disk."""

from __future__ import annotations

from collections.abc import Mapping

from gnt.noded.handler import CallContext, Handlers
from gnt.noded.storage.interface import IDiskTemplate, IMirror
from gnt.noded.storage.registry import mirror_of
from gnt.wire.disk_calls import (
    MirrorAttach,
    MirrorConnect,
    MirrorDetach,
    MirrorDisconnect,
    MirrorList,
    MirrorOverview,
    MirrorPause,
)


class Mirrors:
    """Takes the calls about mirrors. `templates` as `Disks` has them; those that are mirrors answer."""

    def __init__(self, templates: Mapping[str, IDiskTemplate]) -> None:
        self._templates = templates

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {
            MirrorConnect: self._connect,
            MirrorDisconnect: self._disconnect,
            MirrorDetach: self._detach,
            MirrorAttach: self._attach,
            MirrorPause: self._pause,
            MirrorList: self._list,
        }

    async def _connect(self, call: MirrorConnect, context: CallContext) -> None:
        await mirror_of(self._templates, call.disk).connect(call.disk, call.dual, context)

    async def _disconnect(self, call: MirrorDisconnect, context: CallContext) -> None:
        await mirror_of(self._templates, call.disk).disconnect(call.disk, context)

    async def _detach(self, call: MirrorDetach, context: CallContext) -> None:
        await mirror_of(self._templates, call.disk).detach(call.disk, context)

    async def _attach(self, call: MirrorAttach, context: CallContext) -> None:
        await mirror_of(self._templates, call.disk).attach(call.disk, context)

    async def _pause(self, call: MirrorPause, context: CallContext) -> None:
        await mirror_of(self._templates, call.disk).pause(call.disk, call.pause, context)

    async def _list(self, _call: MirrorList, context: CallContext) -> MirrorOverview:
        for template in self._templates.values():
            if IMirror.providedBy(template):
                mirror: IMirror = template
                return await mirror.overview(context)
        return MirrorOverview()
