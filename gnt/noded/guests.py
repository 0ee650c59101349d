"""The guests of this node: starts, stops, migrations, whatever the hypervisor.

Here is what waits; what the hypervisors do is short and runs in the pool `hypervisor`. A stop asks the guest, waits,
and pulls the plug. A driver that hears of changes wakes the wait; else the guest is looked at in growing intervals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.wire import calls, guest_calls

P = ParamSpec("P")
T = TypeVar("T")

FIRST_LOOK: Final = 0.5
LONGEST_LOOK: Final = 5.0
ASK_AGAIN: Final = 5.0
"""Seconds after which a guest that still runs is asked to halt once more: one that boots does not hear the first."""
PLUG_LOOKS: Final = 10
PROGRESS_EVERY: Final = 10.0
ABORT_EVERY: Final = 1.0
LETTING_GO: Final = 30.0
"""Seconds that a guest has to let go of a device."""
_KINDS: Final = {"disk": "disk", "nic": "interface"}


class Alarm:
    """Wakes one waiter: it has rung, or the time is over. What rings between two waits is not lost."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rung = False
        self._waiting: Deferred[None] | None = None

    def ring(self) -> None:
        """Wake the waiter, now or when it next waits."""
        self._rung = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, `seconds` at most."""
        if not self._rung:
            self._waiting = Deferred()
            timer = self._place.runtime.clock.callLater(seconds, self.ring)
            try:
                await self._waiting
            finally:
                self._waiting = None
                if timer.active():
                    timer.cancel()
        self._rung = False


class _Named(Protocol):
    """What names a guest: a call about it, or its instance."""

    @property
    def name(self) -> str:
        """Give the instance's name."""

    @property
    def uuid(self) -> str:
        """Give the instance's UUID."""


@dataclass(frozen=True)
class _Guest:
    """A guest that is being stopped. `aborted` is no longer empty once somebody wants the stopping broken off."""

    place: Place
    driver: IHypervisor
    name: str
    uuid: str
    alarm: Alarm
    aborted: Sequence[bool]

    async def ask_to_halt(self, patience: float) -> bool:
        """Ask until the guest is down (True), or time is over, or there is no asking (False)."""
        clock = self.place.runtime.clock
        end = clock.seconds() + patience
        look, ask_at = FIRST_LOOK, clock.seconds()
        while not self.aborted and clock.seconds() < end:
            if clock.seconds() >= ask_at:
                if not await self._run(self.driver.ask_to_halt):
                    break
                ask_at = clock.seconds() + ASK_AGAIN
            if await self._is_down():
                return True
            await self.alarm.wait(max(0.0, min(look, end - clock.seconds())))
            look = min(look * 1.5, LONGEST_LOOK)
        return await self._is_down()

    async def pull_plug(self) -> None:
        """End the guest; `still_running` if that does not help."""
        for _ in range(PLUG_LOOKS):
            await self._run(self.driver.pull_plug)
            if await self._is_down():
                return
            await self.alarm.wait(1.0)
        raise NodeFailure("still_running", f"Could not shutdown instance '{self.name}' even by destroy")

    async def _is_down(self) -> bool:
        return await self._run(self.driver.find) is None

    def _run(self, work: Callable[[str, str], T]) -> Deferred[T]:
        return self.place.runtime.pools("hypervisor").run(work, self.name, self.uuid)


class Guests:
    """Takes the calls about guests.

    `disk_devices` finds the devices of disks that are assembled here (`NodeFailure` `not_found` if one is not).
    """

    def __init__(
        self,
        place: Place,
        drivers: Mapping[str, IHypervisor],
        disk_devices: Callable[[Sequence[DiskSpec]], Awaitable[Sequence[calls.DiskDevice]]],
    ) -> None:
        self._place = place
        self._drivers = drivers
        self._disk_devices = disk_devices
        self._alarms: dict[str, set[Alarm]] = {}
        self._log = Logger(namespace="gnt.noded.guests")
        for driver in drivers.values():
            driver.watch(self._changed)

    def handlers(self) -> Handlers:
        """Give the table of calls."""
        return {
            guest_calls.GuestList: self._list,
            guest_calls.GuestFind: self._find,
            guest_calls.GuestStart: self._start,
            guest_calls.GuestStop: self._stop,
            guest_calls.GuestReboot: self._reboot,
            guest_calls.GuestConsole: self._console,
            guest_calls.MigrationAccept: self._accept,
            guest_calls.MigrationSend: self._send,
            guest_calls.MigrationStatus: self._status,
            guest_calls.MigrationCancel: self._cancel,
            guest_calls.MigrationFinish: self._finish,
            guest_calls.HypervisorCheck: self._check,
            guest_calls.DevicePlugCheck: self._check_plug,
            guest_calls.DevicePlug: self._plug,
            guest_calls.DeviceUnplug: self._unplug,
            guest_calls.DiskResized: self._resized,
        }

    # For the calls about the node itself

    async def settle(self, names: Iterable[str]) -> dict[str, str]:
        """End what an earlier daemon left under way; gives what could not be ended, by hypervisor."""
        problems = {}
        for name in names:
            try:
                await self._run(self._driver(name).settle)
            except NodeFailure as failure:
                problems[name] = failure.text
        return problems

    async def node_facts(self, names: Iterable[str]) -> tuple[dict[str, calls.HypervisorFacts], dict[str, str]]:
        """Give memory and processors by hypervisor, and the problems of those that do not answer."""
        facts, problems = {}, {}
        for name in names:
            try:
                facts[name] = await self._run(self._driver(name).node_facts)
            except NodeFailure as failure:
                problems[name] = failure.text
        return facts, problems

    async def verify(self, names: Iterable[str]) -> dict[str, str]:
        """Give what is wrong with each hypervisor; those that are fine are left out."""
        problems = {}
        for name in names:
            try:
                problem = await self._run(self._driver(name).verify)
            except NodeFailure as failure:
                problem = failure.text
            if problem:
                problems[name] = problem
        return problems

    async def check(self, hypervisor: str, parameters: Mapping[str, Any]) -> None:
        """Check filled parameters; `NodeFailure` names the one that does not fit this node."""
        await self._run(self._driver(hypervisor).check, parameters)

    # Looking

    async def _list(self, call: guest_calls.GuestList, _context: CallContext) -> list[guest_calls.GuestFacts]:
        found: list[guest_calls.GuestFacts] = []
        for name in call.hypervisors:
            found += await self._run(self._driver(name).list_guests)
        return found

    async def _find(self, call: guest_calls.GuestFind, _context: CallContext) -> guest_calls.GuestFacts | None:
        return await self._run(self._driver(call.hypervisor).find, call.name, call.uuid)

    async def _console(self, call: guest_calls.GuestConsole, _context: CallContext) -> guest_calls.Console:
        return await self._run(self._driver(call.instance.hypervisor).console, call.instance, call.node_name)

    async def _check(self, call: guest_calls.HypervisorCheck, _context: CallContext) -> None:
        await self.check(call.hypervisor, call.parameters)

    # Power

    async def _start(self, call: guest_calls.GuestStart, _context: CallContext) -> None:
        await self._start_guest(call.instance, paused=call.paused)

    async def _start_guest(self, instance: InstanceSpec, *, paused: bool) -> None:
        devices = await self._devices(instance)
        await self._run(self._driver(instance.hypervisor).start, instance, devices, paused)

    async def _stop(self, call: guest_calls.GuestStop, context: CallContext) -> None:
        await self._halt(self._driver(call.hypervisor), call, call.timeout, context)

    async def _reboot(self, call: guest_calls.GuestReboot, context: CallContext) -> None:
        instance, driver = call.instance, self._driver(call.instance.hypervisor)
        if call.hard:
            await self._halt(driver, instance, call.timeout, context)
            await self._start_guest(instance, paused=False)
        elif call.timeout <= 0:
            await self._run(driver.reset, instance.name, instance.uuid)
        else:
            definition = await self._run(driver.definition, instance.name, instance.uuid)
            devices = await self._devices(instance)
            await self._halt(driver, instance, call.timeout, context)
            await self._run(driver.start_again, definition, instance, devices)

    async def _halt(self, driver: IHypervisor, call: _Named, patience: float, context: CallContext) -> None:
        """Ask the guest to halt, pull the plug after `patience` seconds; a guest that is down stays so."""
        if await self._run(driver.find, call.name, call.uuid) is None:
            return
        with self._alarm(call.uuid) as alarm, _abortable(context, alarm) as aborted:
            guest = _Guest(self._place, driver, call.name, call.uuid, alarm, aborted)
            if await guest.ask_to_halt(patience):
                return
            if aborted:
                raise NodeFailure("aborted", f"stopping {call.name} was broken off; it may halt yet")
            await guest.pull_plug()

    # Devices of guests that run

    async def _check_plug(self, call: guest_calls.DevicePlugCheck, _context: CallContext) -> None:
        driver = self._driver(call.instance.hypervisor)
        for kind in call.kinds:
            await self._run(driver.check_plug, call.instance, kind)

    async def _plug(self, call: guest_calls.DevicePlug, _context: CallContext) -> None:
        instance, driver = call.instance, self._driver(call.instance.hypervisor)
        device = _device((*instance.disks, *instance.nics), call)
        facts = await self._run(driver.find, instance.name, instance.uuid)
        if facts is None or facts.state == "user_down":
            return
        if isinstance(device, NicSpec):
            await self._run(driver.plug_nic, instance, device)
            return
        (source,) = await self._disk_devices([device])
        await self._run(driver.plug_disk, instance, device, source)

    async def _unplug(self, call: guest_calls.DeviceUnplug, context: CallContext) -> None:
        driver = self._driver(call.hypervisor)
        look, waited = FIRST_LOOK, 0.0
        with self._alarm(call.uuid) as alarm, _abortable(context, alarm) as aborted:
            while not aborted and waited < LETTING_GO:
                if not await self._run(driver.ask_to_unplug, call.name, call.uuid, call.kind, call.device):
                    return
                await alarm.wait(look)
                waited, look = waited + look, min(look * 1.5, LONGEST_LOOK)
        raise NodeFailure(
            "aborted" if aborted else "held",
            f"{call.name} does not let go of its {call.shown or f'{_KINDS[call.kind]} {call.device}'}",
            hint="is it in use there? A guest that was booting lets go at its next reset: gnt-instance reboot -t hard",
            retry=True,
        )

    async def _resized(self, call: guest_calls.DiskResized, _context: CallContext) -> None:
        driver = self._driver(call.hypervisor)
        try:
            await self._run(driver.resize_disk, call.name, call.uuid, call.disk, call.size)
        except NodeFailure as failure:
            if call.image:
                hint = f"gnt-instance shutdown {call.name}: the image of a guest that is down grows without it"
                raise NodeFailure(failure.code, failure.text, hint=hint, retry=failure.retry) from failure
            text = f"{failure.text}; the guest sees the new size after its next start"
            raise NodeFailure(failure.code, text, hint=failure.hint, retry=failure.retry) from failure

    # Migration

    async def _accept(self, call: guest_calls.MigrationAccept, _context: CallContext) -> guest_calls.MigrationTicket:
        devices = await self._devices(call.instance)
        driver = self._driver(call.instance.hypervisor)
        return await self._run(driver.accept, call.instance, devices, call.source, call.address)

    async def _send(self, call: guest_calls.MigrationSend, context: CallContext) -> None:
        instance, driver = call.instance, self._driver(call.instance.hypervisor)
        pool = self._place.runtime.pools("migration")
        with (
            self._alarm(instance.uuid) as alarm,
            _abortable(context, alarm) as aborted,
            self._alongside(self._report(driver, instance, context)),
            self._alongside(self._abort(driver, instance, alarm, aborted)),
        ):
            await pool.run(driver.send, instance, call.target, call.ticket, call.live)

    async def _status(self, call: guest_calls.MigrationStatus, _context: CallContext) -> guest_calls.MigrationProgress:
        return await self._run(self._driver(call.hypervisor).progress, call.name, call.uuid)

    async def _cancel(self, call: guest_calls.MigrationCancel, _context: CallContext) -> None:
        await self._run(self._driver(call.instance.hypervisor).cancel_accept, call.instance)

    async def _finish(self, call: guest_calls.MigrationFinish, _context: CallContext) -> None:
        await self._run(self._driver(call.instance.hypervisor).finish, call.instance, call.arrived)

    async def _report(self, driver: IHypervisor, instance: InstanceSpec, context: CallContext) -> None:
        """Tell the master from time to time how far the migration has come."""
        while True:
            await self._place.runtime.sleep(PROGRESS_EVERY)
            progress = await self._run(driver.progress, instance.name, instance.uuid)
            if progress.total:
                context.progress(f"* memory transfer progress: {100 * progress.transferred / progress.total:.2f} %")

    async def _abort(self, driver: IHypervisor, instance: InstanceSpec, alarm: Alarm, aborted: Sequence[bool]) -> None:
        """Abort the sending once that is wanted; again and again, it may not have begun yet."""
        while not aborted:
            await alarm.wait(calls.DAY)
        while True:
            await self._run(driver.abort_send, instance.name, instance.uuid)
            await self._place.runtime.sleep(ABORT_EVERY)

    @contextmanager
    def _alongside(self, work: Coroutine[Any, Any, None]) -> Iterator[None]:
        """Do `work` while the body runs; its failures are logged and end it, not the body."""
        ended = False

        def over(failure: Failure) -> None:
            if not ended:
                self._log.failure("beside a migration", failure=failure)

        doing = Deferred.fromCoroutine(work).addErrback(over)
        try:
            yield
        finally:
            ended = True
            doing.cancel()

    # Ground

    def _driver(self, name: str) -> IHypervisor:
        driver = self._drivers.get(name)
        if driver is None:
            raise NodeFailure(
                "unsupported",
                f"this node has no hypervisor {name!r}",
                hint=f"known here: {', '.join(sorted(self._drivers))}",
            )
        return driver

    def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return self._place.runtime.pools("hypervisor").run(work, *args, **kwargs)

    async def _devices(self, instance: InstanceSpec) -> Sequence[calls.DiskDevice]:
        return await self._disk_devices(instance.disks)

    def _changed(self, uuid: str) -> None:
        for alarm in tuple(self._alarms.get(uuid, ())):
            alarm.ring()

    def _alarm(self, uuid: str) -> AbstractContextManager[Alarm]:
        return _kept(self._alarms, uuid, Alarm(self._place))


def _device(devices: Sequence[DiskSpec | NicSpec], call: guest_calls.DevicePlug) -> DiskSpec | NicSpec:
    """Give the device that a call is about."""
    for device in devices:
        if device.uuid == call.device:
            return device
    raise NodeFailure("wrong_input", f"{call.instance.name} has no {_KINDS[call.kind]} {call.device}")


@contextmanager
def _kept(alarms: dict[str, set[Alarm]], uuid: str, alarm: Alarm) -> Iterator[Alarm]:
    alarms.setdefault(uuid, set()).add(alarm)
    try:
        yield alarm
    finally:
        alarms[uuid].discard(alarm)
        if not alarms[uuid]:
            del alarms[uuid]


@contextmanager
def _abortable(context: CallContext, alarm: Alarm) -> Iterator[list[bool]]:
    """Give a list that is no longer empty once the call was aborted."""
    aborted: list[bool] = []

    def abort() -> None:
        aborted.append(True)
        alarm.ring()

    context.on_abort.append(abort)
    try:
        yield aborted
    finally:
        context.on_abort.remove(abort)
