"""What a node has to offer beside guest OS definitions: exports, external storage providers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.storage.providers import list_providers
from gnt.wire.disk_calls import ProviderFacts, ProviderList
from gnt.wire.offer_calls import ExportList

POOL: Final = "storage"


class Offers:
    """Takes the calls that list them."""

    def __init__(self, place: Place) -> None:
        self._layout = place.layout
        self._pool = place.runtime.pools(POOL)

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {ExportList: self._exports, ProviderList: self._providers}

    async def _exports(self, _call: ExportList, _context: CallContext) -> list[str]:
        return await self._pool.run(export_names, self._layout.exports)

    async def _providers(self, _call: ProviderList, _context: CallContext) -> list[ProviderFacts]:
        return await self._pool.run(list_providers, self._layout.ext_storage_search_path())


def export_names(directory: Path) -> list[str]:
    """Give what is in the export directory, sorted, hidden entries aside. Blocks.

    The directory is made with the first export; until then there is none. Raises `NodeFailure` (`storage_error`).
    """
    try:
        names = [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NodeFailure("storage_error", f"Cannot list {directory}: {error.strerror}") from error
    # A name that is no Unicode could not be said to anybody; it is shown with marks in place of its odd bytes.
    return sorted(name.encode(errors="replace").decode() for name in names if not name.startswith("."))
