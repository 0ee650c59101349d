"""Guest operating systems on this node: listing, checking and running their definitions, spec/os-interface.md."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.model.secret import REDACTED
from gnt.model.specs import InstanceSpec
from gnt.noded.disks import Disks
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.os_definitions import check_parameters, check_variant, find_definition, list_definitions, split_os
from gnt.noded.os_environment import core_environment, create_environment
from gnt.noded.processes import IProcesses
from gnt.wire.calls import FAST, OsCheck, OsCreate, OsFacts, OsList, OsRename

POOL: Final = "storage"
TAIL_LINES: Final = 20
# Parameters that ask for something other than the definition's own scripts; not carried out yet.
_RESERVED: Final = "os-image"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.+:@-]")


class GuestOs:
    """Takes the calls about guest operating systems."""

    def __init__(self, place: Place, processes: IProcesses, disks: Disks) -> None:
        self._layout = place.layout
        self._runtime = place.runtime
        self._pool = place.runtime.pools(POOL)
        self._processes = processes
        self._disks = disks

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {OsList: self._list, OsCheck: self._check, OsCreate: self._create, OsRename: self._rename}

    def log_path(self, kind: str, *names: str) -> Path:
        """Give the log of one run of a script, for example of (`add`, OS, instance)."""
        stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.localtime(self._runtime.now()))
        # A file name has at most 255 bytes, and names of guests may be nearly as long.
        stem = _UNSAFE.sub("_", "-".join((kind, *names)))[:225]
        return self._layout.os_log / f"{stem}-{stamp}.log"

    async def _list(self, _call: OsList, _context: CallContext) -> list[OsFacts]:
        return await self._pool.run(list_definitions, self._layout.os_search_path())

    async def _check(self, call: OsCheck, context: CallContext) -> None:
        name = split_os(call.os)[0]
        facts = await self._pool.run(find_definition, self._layout.os_search_path(), name)
        if not facts.path and not call.required:
            return
        _refuse_broken(facts)
        if not call.force_variant:
            check_variant(facts, call.os)
        _refuse_reserved(call.parameters)
        check_parameters(facts, call.parameters)
        if max(facts.api_versions) < 20:
            return
        done = await self._processes.run(
            [f"{facts.path}/verify", "parameters"],
            env=core_environment(facts, call.os, call.parameters),
            cwd=Path(facts.path),
            timeout=FAST,
            context=context,
        )
        if not done.ok:
            hidden = (call.parameters[name] for name in call.hidden if name in call.parameters)
            said = _tail(f"{done.output}{done.errors}", hidden)
            raise NodeFailure("script_failed", f"OS '{name}' refuses its parameters (verify {done.how}): {said}")

    async def _create(self, call: OsCreate, context: CallContext) -> None:
        instance = call.instance
        if not instance.os:
            return
        facts = await self._usable(instance)
        devices = await self._disks.devices(instance.disks)
        environment = create_environment(
            facts, instance, devices, reinstall=call.reinstall, debug_level=call.debug_level
        )
        log = self.log_path("add", instance.os, instance.name)
        await self._run("create", facts, instance, environment, log, call.deadline, context)

    async def _rename(self, call: OsRename, context: CallContext) -> None:
        instance = call.instance
        if not instance.os:
            return
        facts = await self._usable(instance)
        devices = await self._disks.devices(instance.disks)
        environment = create_environment(facts, instance, devices, reinstall=False, debug_level=call.debug_level)
        environment["OLD_INSTANCE_NAME"] = call.old_name
        log = self.log_path("rename", instance.os, call.old_name, instance.name)
        await self._run("rename", facts, instance, environment, log, call.deadline, context)

    async def _usable(self, instance: InstanceSpec) -> OsFacts:
        """Give the definition of an instance's guest OS, or refuse one whose scripts cannot be run."""
        name = split_os(instance.os)[0]
        facts = await self._pool.run(find_definition, self._layout.os_search_path(), name)
        _refuse_broken(facts)
        if not facts.trusted:
            raise NodeFailure(
                "unsupported",
                f"OS '{name}' has only an untrusted create script, which is not supported yet",
                hint="use a definition with a script named create",
            )
        _refuse_reserved(instance.osparams)
        _refuse_reserved(instance.osparams_private)
        return facts

    async def _run(  # noqa: PLR0917  (what a run of a script consists of)
        self,
        script: str,
        facts: OsFacts,
        instance: InstanceSpec,
        environment: dict[str, str],
        log: Path,
        deadline: float,
        context: CallContext,
    ) -> None:
        done = await self._processes.run(
            [f"{facts.path}/{script}"],
            env=environment,
            cwd=Path(facts.path),
            log=log,
            timeout=deadline,
            context=context,
        )
        if not done.ok:
            said = _tail(done.output, (str(value) for value in instance.osparams_private.values()))
            raise NodeFailure(
                "script_failed",
                f"OS {script} script failed ({done.how}), last lines in the log file:\n{said}",
                hint=f"the whole log is {log}",
            )


def _refuse_broken(facts: OsFacts) -> None:
    """Refuse a definition that cannot be used."""
    if not facts.path:
        raise NodeFailure("not_found", facts.diagnose, hint="gnt-os diagnose shows what there is, on which node")
    if not facts.valid:
        raise NodeFailure("invalid_os", f"OS '{facts.name}' is not valid here: {facts.diagnose}")


def _refuse_reserved(names: Iterable[str]) -> None:
    """Refuse, by name, the parameter that asks for an image instead of scripts."""
    if _RESERVED in names:
        raise NodeFailure("unsupported", f"OS parameter '{_RESERVED}' is not supported yet", hint="leave it out")


def _tail(output: str, secrets: Iterable[str]) -> str:
    """Give the last lines of what a script wrote, without the secrets that it may have printed."""
    for secret in sorted(secrets, key=len, reverse=True):
        # Whatever is shorter would garble the text, and is no secret.
        if len(secret) >= 3:
            output = output.replace(secret, REDACTED)
    return "\n".join(output.splitlines()[-TAIL_LINES:])
