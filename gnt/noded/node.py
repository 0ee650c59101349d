"""The node itself: what it is, how it is, which cluster it belongs to."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from gnt import __version__
from gnt.daemon.config_view import write_config_data
from gnt.daemon.files import remove_durably, write_atomically
from gnt.daemon.leaving import forget_cluster
from gnt.model.errors import GntError, NodeFailure
from gnt.model.layout import Layout
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.machine import IMachine
from gnt.noded.membership import MembershipFile
from gnt.noded.storage.allowed import AllowedDirectories
from gnt.noded.storage.units import StorageUnits
from gnt.wire.calls import (
    BridgeCheck,
    Configure,
    Delay,
    HypervisorFacts,
    InstallAuthority,
    InterfaceCheck,
    LeaveCluster,
    NodeFacts,
    NodeInfo,
    NodeVerify,
    NodeVersion,
    Peer,
    VerifyFacts,
    Version,
)
from gnt.wire.certificates import bundle, check_signed, facts, signing_authority

POOL: Final = "node"
# As existing clients know it: major * 1000000 + minor * 10000 + revision.
PROTOCOL: Final = 3010000
SSCONF_LIMIT: Final = 131072
# The answer to `LeaveCluster` has this long to leave before the daemon does.
LEAVE_DELAY: Final = 1.0
_SSCONF_NAME: Final = re.compile(r"[a-z0-9_-]+")


class Hypervisors(Protocol):
    """What the node must know of its hypervisors; `gnt.noded.guests.Guests` has it."""

    async def node_facts(self, names: Iterable[str]) -> tuple[dict[str, HypervisorFacts], dict[str, str]]:
        """Give memory and processors by hypervisor, and problems."""

    async def verify(self, names: Iterable[str]) -> dict[str, str]:
        """Give problems by hypervisor."""

    async def check(self, hypervisor: str, parameters: Mapping[str, Any]) -> None:
        """Check filled parameters."""


def _kept_aside(layout: Layout) -> list[str]:
    """Give the files that hold what this node's log has lost to a newer master's (`gnt.store.aside`). Blocks."""
    store = layout.config_db
    return sorted(map(str, store.parent.glob(f"{store.name}.lost-*")))


class NodeItself:
    """Takes the calls about the node itself.

    `end` ends the daemon, after the node has left its cluster; `orphans` names calls that nobody waits for.
    """

    def __init__(
        self,
        place: Place,
        *,
        membership: MembershipFile,
        hypervisors: Hypervisors,
        storage: StorageUnits,
        machine: IMachine,
        end: Callable[[], None],
        orphans: Callable[[], list[str]] = list,
    ) -> None:
        self._place = place
        self._layout = place.layout
        self._runtime = place.runtime
        self._pool = place.runtime.pools(POOL)
        self._membership = membership
        self._hypervisors = hypervisors
        self._storage = storage
        self._machine = machine
        self._end = end
        self._orphans = orphans
        self._leaving = False

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {
            Version: self._version,
            NodeInfo: self._info,
            NodeVerify: self._verify,
            Configure: self._configure,
            InstallAuthority: self._install_authority,
            LeaveCluster: self._leave,
            Delay: self._delay,
            BridgeCheck: self._bridges,
            InterfaceCheck: self._interfaces,
        }

    def version(self) -> NodeVersion:
        """Give the versions, the node's name, and its UUID once it has joined."""
        member = self._membership.current
        return NodeVersion(
            protocol=PROTOCOL, release=__version__, name=self._place.name, uuid=member.node_uuid if member else ""
        )

    # Looking

    async def _version(self, _call: Version, _context: CallContext) -> NodeVersion:
        return self.version()

    async def _info(self, call: NodeInfo, context: CallContext) -> NodeFacts:
        storage, problems = await self._storage.facts(call.storage, context)
        hypervisors, more = await self._hypervisors.node_facts(call.hypervisors)
        return NodeFacts(
            boot_id=await self._pool.run(self._machine.boot_id),
            storage=storage,
            hypervisors=hypervisors,
            problems=problems | more,
            time=self._runtime.now(),
        )

    async def _verify(self, call: NodeVerify, _context: CallContext) -> VerifyFacts:
        unreachable = await self._unreachable(call.peers)
        parameters = await self._bad_parameters(call.parameters)
        certificate, ends = await self._pool.run(self._certificate)
        return VerifyFacts(
            version=self.version(),
            time=self._runtime.now(),
            unreachable=unreachable,
            hypervisors=await self._hypervisors.verify(call.hypervisors),
            parameters=parameters,
            files=await self._pool.run(_digests, call.files),
            storage_paths=await self._pool.run(self._bad_storage, call.storage_paths),
            bridges_missing=await self._pool.run(self._machine.missing_bridges, call.bridges),
            certificate=certificate,
            certificate_ends=ends,
            orphan_calls=self._orphans(),
            kept_aside=await self._pool.run(_kept_aside, self._layout),
        )

    async def _bridges(self, call: BridgeCheck, _context: CallContext) -> list[str]:
        return await self._pool.run(self._machine.missing_bridges, call.bridges)

    async def _interfaces(self, call: InterfaceCheck, _context: CallContext) -> list[str]:
        return await self._pool.run(self._machine.missing_interfaces, call.interfaces)

    async def _delay(self, call: Delay, context: CallContext) -> None:
        if call.seconds < 0:
            raise NodeFailure("wrong_input", f"Cannot wait {call.seconds:g} seconds")
        waiting = self._runtime.sleep(call.seconds)
        context.on_abort.append(waiting.cancel)
        try:
            await waiting
        except CancelledError:
            raise NodeFailure("aborted", "The delay was aborted") from None

    async def _unreachable(self, peers: list[Peer]) -> dict[str, str]:
        """Try both addresses of all peers, side by side; gives what failed, by name."""
        primary, secondary = await self._pool.run(self._own_addresses)

        async def try_peer(peer: Peer) -> list[str]:
            tries = [("primary", peer.primary_ip, primary)]
            if peer.secondary_ip != peer.primary_ip:
                tries.append(("secondary", peer.secondary_ip, secondary))
            answers = [_begin(self._machine.reach(address, peer.port, source)) for _, address, source in tries]
            reached = await gatherResults(answers)
            return [name for (name, _, _), there in zip(tries, reached, strict=True) if not there]

        failed = await gatherResults([_begin(try_peer(peer)) for peer in peers])
        return {
            peer.name: f"failure using the {' and '.join(names)} interface(s)"
            for peer, names in zip(peers, failed, strict=True)
            if names
        }

    def _own_addresses(self) -> tuple[str, str]:
        """Give this node's own primary and secondary address as ssconf has them; empty where it has none. Blocks."""
        found = []
        for name in ("node_primary_ips", "node_secondary_ips"):
            try:
                lines = [line.split() for line in self._layout.ssconf(name).read_text().splitlines()]
            except FileNotFoundError:
                lines = []
            known = {line[0]: line[1] for line in lines if len(line) == 2}
            found.append(known.get(self._place.name, ""))
        return found[0], found[1]

    async def _bad_parameters(self, wanted: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[tuple[str, str, str]]:
        """Give those parameters that do not fit this node, with the reason."""
        found = []
        for source, name, parameters in wanted:
            try:
                await self._hypervisors.check(name, parameters)
            except NodeFailure as failure:
                found.append((source, name, failure.text))
        return found

    def _bad_storage(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Give the problems of storage directories by template. Blocks."""
        problems = {}
        for template, path in paths.items():
            if template not in {"file", "sharedfile", "qcow2"}:
                problems[template] = f"storage of the kind {template!r} is not supported yet"
                continue
            try:
                AllowedDirectories(self._layout, template).check(path)
            except NodeFailure as failure:
                problems[template] = failure.text
        return problems

    def _certificate(self) -> tuple[str, float]:
        """Give the digest of this node's certificate and when it ends; empty and 0 without one. Blocks."""
        try:
            found = facts(self._layout.node_pem.read_bytes())
        except (OSError, GntError):
            return "", 0.0
        return found.digest, found.ends

    # Belonging

    async def _configure(self, call: Configure, _context: CallContext) -> None:
        self._refuse_leaving()
        for name, text in call.files.items():
            _check_ssconf(name, text)
        if call.membership.node_name != self._place.name:
            raise NodeFailure("wrong_input", f"This node is {self._place.name}, not {call.membership.node_name}")
        await self._pool.run(self._write_configuration, call)

    def _write_configuration(self, call: Configure) -> None:
        """Write everything, the membership last: what it says of the position holds for all. Blocks."""
        if not self._membership.is_news(call.membership):
            return
        with _Writing():
            for name, text in call.files.items():
                _write_news(self._layout.ssconf(name), _lines(text).encode(), 0o444)
            if call.config_data is not None:
                write_config_data(self._layout, call.config_data)
            elif call.membership.node_uuid not in call.membership.candidates:
                remove_durably(self._layout.config_data)
            self._membership.store(call.membership)

    async def _install_authority(self, call: InstallAuthority, _context: CallContext) -> None:
        self._refuse_leaving()
        await self._pool.run(self._write_authority, call)

    def _write_authority(self, call: InstallAuthority) -> None:
        """Write or remove the authority's key; another authority than the one we trust is refused. Blocks."""
        with _Writing():
            if call.certificate:
                self._check_authority(call)
                write_atomically(self._layout.authority_certificate, call.certificate, 0o644)
            if call.key:
                signing_authority(call.certificate.encode(), call.key.encode())
                write_atomically(self._layout.authority_key, call.key, 0o600)
            else:
                remove_durably(self._layout.authority_key)

    def _check_authority(self, call: InstallAuthority) -> None:
        """Refuse an authority that is not the one of this node's cluster; while it is replaced there are two."""
        given = call.certificate.encode()
        known = self._layout.authority_certificate
        if known.exists() and not set(bundle(known.read_bytes())) & set(bundle(given)):
            raise NodeFailure("other_cluster", f"{self._place.name} trusts another authority than the one given")
        if self._layout.node_pem.exists():
            check_signed(self._layout.node_pem.read_bytes(), given)

    async def _leave(self, _call: LeaveCluster, _context: CallContext) -> None:
        # In the one thread that writes the log: a store that is set aside meanwhile would be missed, with its secrets.
        await self._place.runtime.pools("log").run(self._forget)
        if not self._leaving:
            self._leaving = True
            self._runtime.clock.callLater(LEAVE_DELAY, self._end)

    def _refuse_leaving(self) -> None:
        """Refuse what waited behind the order to leave: it would make this a member again, in part."""
        if self._leaving:
            raise NodeFailure("wrong_state", f"{self._place.name} has left its cluster")

    def _forget(self) -> None:
        with _Writing():
            forget_cluster(self._layout)
            self._membership.forget()


class _Writing:
    """Turns what the system says while files are written into a failure with a code."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise NodeFailure("storage_error", f"Cannot write {error.filename}: {error.strerror}") from error


def _begin(work: Awaitable[Any]) -> Deferred[Any]:
    """Let something go on beside other things."""

    async def doing() -> Any:
        return await work

    return Deferred.fromCoroutine(doing())


def _check_ssconf(name: str, text: str) -> None:
    """Refuse a name that is no ssconf name, and a value that is too long."""
    if not _SSCONF_NAME.fullmatch(name):
        raise NodeFailure("wrong_input", f"{name!r} is no ssconf name")
    if len(_lines(text).encode()) > SSCONF_LIMIT:
        raise NodeFailure("wrong_input", f"ssconf_{name} would be longer than {SSCONF_LIMIT} bytes")


def _write_news(path: Path, content: bytes, mode: int) -> None:
    """Write a file unless it is there with this content: most of the small files stay as they are. Blocks."""
    if not _is_there(str(path), content, mode):
        write_atomically(path, content, mode)


def _is_there(path: str, content: bytes, mode: int) -> bool:
    """Say whether a file is there with this content and mode. Dozens are asked about at each change: no `Path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        as_wanted = (found.st_size, found.st_mode & 0o7777) == (len(content), mode)
        return as_wanted and os.read(descriptor, len(content) + 1) == content
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _lines(text: str) -> str:
    """End a value with a newline; an empty one is an empty file."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def _digests(paths: Iterable[str]) -> dict[str, str]:
    """Give the SHA-1 of files; what is missing, unreadable or no regular file is left out. Blocks."""
    found = {}
    for path in paths:
        try:
            if not Path(path).is_file():
                continue
            with Path(path).open("rb") as file:
                # It tells whether two copies are alike; nobody's trust rests on it.
                found[path] = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
        except (OSError, ValueError):
            continue
    return found
