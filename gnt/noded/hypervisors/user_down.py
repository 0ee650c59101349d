"""Which guests were halted from inside: libvirt forgets a guest that has ended, so files remember.

A guest that is watched has a file in `watched/`; when it halts without having been asked, the file moves to `down/`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from gnt.wire.guest_calls import GuestFacts


class _Remark(msgspec.Struct, frozen=True):
    """What is known of a guest that has gone."""

    name: str
    uuid: str


class UserDown:
    """The files below one directory, named by UUID."""

    def __init__(self, directory: Path, hypervisor: str) -> None:
        self._watched = directory / "watched"
        self._down = directory / "down"
        self._hypervisor = hypervisor

    def watch(self, name: str, uuid: str) -> None:
        """Take notice when this guest halts by itself."""
        self._watched.mkdir(parents=True, exist_ok=True)
        fresh = self._watched / f".{uuid}"
        fresh.write_bytes(msgspec.json.encode(_Remark(name, uuid)))
        fresh.replace(self._watched / uuid)

    def expected(self, uuid: str) -> None:
        """Stop watching: the guest was asked to halt, so that it goes is not its user's doing."""
        (self._watched / uuid).unlink(missing_ok=True)

    def halted(self, uuid: str) -> None:
        """Remember that the guest has halted by itself, if it is watched."""
        self._down.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            (self._watched / uuid).replace(self._down / uuid)

    def forget(self, uuid: str) -> None:
        """Remember nothing: the guest starts, moves away, or its plug was pulled."""
        self.expected(uuid)
        (self._down / uuid).unlink(missing_ok=True)

    def find(self, uuid: str) -> GuestFacts | None:
        """Give a guest that was halted from inside."""
        try:
            remark = msgspec.json.decode((self._down / uuid).read_bytes(), type=_Remark)
        except FileNotFoundError:
            return None
        return GuestFacts(
            name=remark.name, uuid=remark.uuid, hypervisor=self._hypervisor, state="user_down", memory=0, vcpus=0
        )

    def all(self) -> list[GuestFacts]:
        """Give all guests that were halted from inside."""
        if not self._down.is_dir():
            return []
        found = (self.find(entry.name) for entry in self._down.iterdir())
        return [facts for facts in found if facts is not None]
