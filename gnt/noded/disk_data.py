"""The data of disks: zeros over it, copies between templates, and its way to another node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.disks import Disks
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.membership import MembershipFile
from gnt.noded.storage.interface import Contents
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.raw import MIB, PIECE, Buffer, Raw, copy_piece, write_zeros
from gnt.noded.storage.transfer import Offer, Transfer
from gnt.wire.calls import SLOW
from gnt.wire.disk_calls import DiskCopy, DiskOffer, DiskPull, DiskWipe
from gnt.wire.tls import NodeCredentials

PROGRESS_EVERY: Final = 10.0
_PERCENT: Final = re.compile(rb"\(\s*([0-9.]+)/100%\)")

_log = Logger()


class DiskData:
    """Takes the calls about the data of disks. `stop` takes all offers back."""

    def __init__(
        self,
        place: Place,
        disks: Disks,
        programs: Programs,
        membership: MembershipFile,
        transfer: Transfer | None = None,
    ) -> None:
        self._place = place
        self._transfer = transfer or Transfer()
        self._disks = disks
        self._programs = programs
        self._membership = membership
        self._pool = place.runtime.pools("storage")
        self._transfers = place.runtime.pools("transfer")
        self._offers: dict[str, Offer] = {}
        disks.on_release.append(self._take_back)

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {DiskWipe: self._wipe, DiskCopy: self._copy, DiskOffer: self._offer, DiskPull: self._pull}

    def stop(self) -> None:
        """Take all offers back, so that no thread waits for a reader."""
        for uuid in list(self._offers):
            self._take_back(uuid)

    # On this node

    async def _wipe(self, call: DiskWipe, context: CallContext) -> None:
        contents = await self._contents(call.disk, context)
        end = call.offset + call.size
        # What is wiped may be what the disk has just grown by: its own size counts, not the one on record.
        facts = await self._disks.template(call.disk).find(call.disk, context)
        size = contents.size if facts is None else facts.size
        if call.offset < 0 or call.size < 0 or end > size:
            text = f"Cannot wipe {call.size} MiB from {call.offset} MiB on: the disk has {size} MiB"
            raise NodeFailure("wrong_input", text)
        told = _Told(self._place, context, "wiping", call.size * MIB)
        if not contents.plain:
            await self._wipe_image(contents, call, context)
            return
        target = await self._pool.run(_opened, contents.place, True)
        try:
            with _abortable(context) as aborted:
                for offset in range(call.offset * MIB, end * MIB, PIECE):
                    _refuse_aborted(aborted, "wiping")
                    await self._pool.run(write_zeros, target, offset, min(PIECE, end * MIB - offset))
                    told.at(offset + PIECE - call.offset * MIB)
            await self._pool.run(target.flush)
        finally:
            await self._pool.run(target.close)

    async def _wipe_image(self, contents: Contents, call: DiskWipe, context: CallContext) -> None:
        """Let QEMU write zeros where the data is not simply at a path."""
        command = f"write -z {call.offset}M {call.size}M"
        argv = ["qemu-io", "-f", contents.format, "-c", command, contents.place]
        await self._programs.run(argv, context, timeout=SLOW)

    async def _copy(self, call: DiskCopy, context: CallContext) -> None:
        source = await self._contents(call.source, context)
        target = await self._contents(call.disk, context)
        if source.size > target.size:
            raise NodeFailure("no_space", f"A disk of {source.size} MiB does not fit onto one of {target.size} MiB")
        if source.plain and target.plain:
            await self._copy_raw(source, target, context)
        else:
            await self._convert(source, target, context)

    async def _copy_raw(self, source: Contents, target: Contents, context: CallContext) -> None:
        """Copy between two paths, piece by piece."""
        size = source.size * MIB
        told = _Told(self._place, context, "copying", size)
        into = await self._pool.run(_opened, target.place, True)
        try:
            come_from = await self._pool.run(_opened, source.place, False)
            try:
                buffer = Buffer()
                with _abortable(context) as aborted:
                    for offset in range(0, size, PIECE):
                        _refuse_aborted(aborted, "copying")
                        length = min(PIECE, size - offset)
                        await self._pool.run(copy_piece, come_from, into, offset, length, buffer)
                        told.at(offset + length)
                await self._pool.run(into.flush)
            finally:
                await self._pool.run(come_from.close)
        finally:
            await self._pool.run(into.close)

    async def _convert(self, source: Contents, target: Contents, context: CallContext) -> None:
        """Let QEMU copy, since one side is an image or is reached without a device."""
        told = _Told(self._place, context, "copying", 100)

        def hear(data: bytes) -> None:
            found = _PERCENT.findall(data)
            if found:
                told.at(int(float(found[-1])))

        # By itself it leaves what it wrote in memory; the disk that it came from may be removed next.
        synced = ["-n", "-p", "-W", "-t", "writeback"]
        argv = ["qemu-img", "convert", *synced, *_source_words(source), "-O", target.format, target.place]
        await self._programs.run(argv, context, timeout=SLOW, hear=hear)

    # To another node

    async def _offer(self, call: DiskOffer, context: CallContext) -> dict[str, Any]:
        contents = await self._contents(call.disk, context)
        member = self._membership.current
        if member is None:
            raise NodeFailure("storage_error", "This node belongs to no cluster")
        if not contents.place.startswith("/"):
            raise NodeFailure("unsupported", f"Disks at {contents.place} are not copied from node to node")
        self._take_back(call.disk.uuid)
        offer = self._transfer.offer(contents.place, self._credentials(), call.reader, call.address)
        self._offers[call.disk.uuid] = offer
        serving = self._transfers.run(offer.serve)
        serving.addBoth(self._served, call.disk.uuid, offer)
        return {
            "source": member.node_uuid,
            "address": call.address,
            "port": offer.port,
            "word": offer.word,
            "format": contents.format,
        }

    async def _pull(self, call: DiskPull, context: CallContext) -> None:
        contents = await self._contents(call.disk, context)
        form = str(call.ticket.get("format"))
        if form != contents.format or not contents.place.startswith("/"):
            text = f"Data in the format {form} cannot be put onto disk {call.disk.uuid}, which is {contents.format}"
            raise NodeFailure("unsupported", text)
        told = _Told(self._place, context, "copying", call.source.size * MIB)
        target = await self._pool.run(_opened, contents.place, True, not contents.plain)
        try:
            meter = _Meter()
            with _abortable(context) as aborted, self._told_meanwhile(told, meter):
                keys = self._credentials()
                fetch = self._transfer.fetch
                await self._transfers.run(fetch, call.ticket, keys, target, lambda: bool(aborted), meter.read)
        finally:
            await self._pool.run(target.close)

    @contextmanager
    def _told_meanwhile(self, told: _Told, meter: _Meter) -> Iterator[None]:
        """Tell how far the work of another thread has come, as its meter says."""
        ended = False

        def tell() -> None:
            if not ended:
                told.at(meter.done)
                self._place.runtime.clock.callLater(PROGRESS_EVERY, tell)

        timer = self._place.runtime.clock.callLater(PROGRESS_EVERY, tell)
        try:
            yield
        finally:
            ended = True
            if timer.active():
                timer.cancel()

    def _served(self, result: Any, uuid: str, offer: Offer) -> None:
        """Forget an offer that has ended, well or not; the reader has noticed what went wrong."""
        if self._offers.get(uuid) is offer:
            del self._offers[uuid]
        if isinstance(result, Failure):
            _log.warn("offering disk {uuid}: {problem}", uuid=uuid, problem=result.getErrorMessage())

    def _take_back(self, uuid: str) -> None:
        offer = self._offers.pop(uuid, None)
        if offer is not None:
            offer.close()

    def _credentials(self) -> NodeCredentials:
        layout = self._place.layout
        return NodeCredentials(layout.node_pem, layout.authority_certificate)

    async def _contents(self, disk: DiskSpec, context: CallContext) -> Contents:
        return await self._disks.template(disk).contents(disk, context)


class _Told:
    """Tells the master from time to time how far the work has come. `total` in whatever unit it counts."""

    def __init__(self, place: Place, context: CallContext, what: str, total: int) -> None:
        self._clock = place.runtime.clock
        self._context = context
        self._what = what
        self._total = max(1, total)
        self._next = self._clock.seconds() + PROGRESS_EVERY
        self.latest = 0

    def at(self, done: int) -> None:
        """Hear how far the work has come."""
        self.latest = done
        if self._clock.seconds() >= self._next:
            self._next = self._clock.seconds() + PROGRESS_EVERY
            self._context.progress(f"* {self._what}: {min(100.0, 100 * done / self._total):.1f} %")


class _Meter:
    """How far the work of another thread has come."""

    def __init__(self) -> None:
        self.done = 0

    def read(self, done: int) -> None:
        """Take it from that thread."""
        self.done = done


def _opened(path: str, write: bool, may_grow: bool = False) -> Raw:
    return Raw(path, write=write, may_grow=may_grow)


def _source_words(source: Contents) -> list[str]:
    """Name a source to `qemu-img`: of a device, as much as the disk has, for it may be a little larger."""
    if not source.plain:
        return ["-f", source.format, source.place]
    name = source.place.replace(",", ",,")
    return ["--image-opts", f"driver=raw,size={source.size * MIB},file.filename={name}"]


def _refuse_aborted(aborted: list[bool], what: str) -> None:
    if aborted:
        raise NodeFailure("aborted", f"{what} was broken off")


@contextmanager
def _abortable(context: CallContext) -> Iterator[list[bool]]:
    """Give a list that is no longer empty once the call was aborted."""
    aborted: list[bool] = []

    def abort() -> None:
        aborted.append(True)

    context.on_abort.append(abort)
    try:
        yield aborted
    finally:
        context.on_abort.remove(abort)
