"""One use of a command: what was given, and what its function works with."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gnt.cli.command import Command
from gnt.cli.options import PRIORITIES
from gnt.cli.parsing import Parsed
from gnt.cli.silence import WatchedClient
from gnt.cli.terminal import note
from gnt.model.errors import ENVIRONMENT, ConfigError, GntError, Refused
from gnt.model.layout import MASTER_SOCKET, QUERY_SOCKET, Layout, host_name, root_from
from gnt.wire.luxi_client import LuxiClient

if TYPE_CHECKING:
    from gnt.opcodes.base import Opcode


class TracedClient(WatchedClient):
    """A client that says on standard error what it asks; never what the arguments are, they may be secret."""

    def call(self, method: str, *args: Any, patience: float = 0.0) -> Any:
        """Call a method, and say how long the answer took."""
        begin = time.monotonic()
        try:
            return super().call(method, *args, patience=patience)
        finally:
            note(f"debug: {method} took {time.monotonic() - begin:.3f} s")


class Call:
    """One use of a command."""

    def __init__(self, program: str, command: Command, parsed: Parsed, environ: Mapping[str, str]) -> None:
        self.program = program
        self.command = command
        self.parsed = parsed
        self.environ = environ

    @cached_property
    def layout(self) -> Layout:
        """Give the paths of this node."""
        return Layout.from_environment(self.environ)

    @property
    def arguments(self) -> list[str]:
        """Give the positional arguments."""
        return self.parsed.arguments

    def option(self, dest: str, default: Any = None) -> Any:
        """Give the value of an option, or the default when it was not given."""
        return self.parsed.options.get(dest, default)

    @property
    def json(self) -> bool:
        """Say whether a program reads the output."""
        return bool(self.option("json"))

    def print_json(self, value: Any) -> None:
        """Write a value to standard output as one JSON text."""
        json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")

    # The cluster

    @cached_property
    def client(self) -> LuxiClient:
        """Give the connection to the master; raises `GntError` saying where the master is if it is not here."""
        client = (TracedClient if self.option("debug") else WatchedClient)(self.socket_path())
        try:
            client.connect()
        except GntError as problem:
            raise self._explained(problem) from None
        return client

    def socket_path(self) -> str:
        """Give where the master daemon listens; `FORCE_LUXI_SOCKET` names one of the two sockets, or a path."""
        forced = self.environ.get("FORCE_LUXI_SOCKET", "")
        named = {"": MASTER_SOCKET, "master": MASTER_SOCKET, "query": QUERY_SOCKET}
        if forced not in named:
            return forced
        return os.path.join(root_from(self.environ), named[forced])  # noqa: PTH118  (lists do without Path)

    def _explained(self, problem: GntError) -> GntError:
        """Say more of a master that does not answer: is it another node, or is there no cluster here at all."""
        if problem.code != "no_master":
            return problem
        try:
            master = self.ssconf("master_node")
        except ConfigError:
            return Refused(ENVIRONMENT, "this machine is not part of a cluster", hint="gnt-cluster init NAME makes one")
        if master != self.host:
            return Refused(ENVIRONMENT, f"this is not the master node; run the command on {master}")
        return GntError(
            "no_master",
            f"cannot communicate with the master daemon: {problem.text}",
            hint=f"is gnt-masterd running? {self.layout.log}/master-daemon.log says why not",
        )

    def other_master(self) -> str | None:
        """Name the master where that is another node, as far as this one has heard."""
        try:
            master = self.ssconf("master_node")
        except ConfigError:
            return None
        return master if master != self.host else None

    @property
    def host(self) -> str:
        """Give this node's own name."""
        return host_name(self.environ, socket.getfqdn())

    def ssconf(self, name: str) -> str:
        """Read a value that every node has in a file; raises `ConfigError`."""
        path = self.layout.ssconf(name)
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise ConfigError(
                f"there is no {path}", hint="this machine is not part of a cluster: gnt-cluster init makes one"
            ) from None
        except OSError as problem:
            raise ConfigError(f"cannot read {path}: {problem.strerror}") from None

    # Opcodes

    def fields_of(self, op_id: str) -> dict[str, Any]:
        """Give the parameters of an opcode that options set which stand for them."""
        return {
            option.parameter: self.parsed.options[option.dest] for option in self.parsed.given if option.opcode == op_id
        }

    def opcode(self, op_id: str, **fields: Any) -> Opcode:
        """Make an opcode of options and fields; None leaves a field out. Raises `Refused` naming a bad parameter."""
        from gnt.opcodes.registry import decode_opcode  # noqa: PLC0415  (lists need no opcodes)

        return decode_opcode(self.unchecked(op_id, **fields))

    def unchecked(self, op_id: str, **fields: Any) -> dict[str, Any]:
        """Make the JSON object of an opcode, as `opcode` does, and leave it to the master to refuse it.

        For lists: to load the opcodes takes longer than all the rest of them.
        """
        values = {**self.fields_of(op_id), **fields}
        given = {name: value for name, value in values.items() if value is not None}
        return {"OP_ID": op_id, **given, **self.common_fields()}

    def common_fields(self) -> dict[str, Any]:
        """Give the parameters that every opcode has, as the common options say."""
        fields: dict[str, Any] = {"reason": self.reason()}
        if self.option("dry_run"):
            fields["dry_run"] = True
        if self.option("debug"):
            fields["debug_level"] = self.option("debug")
        if self.option("priority"):
            fields["priority"] = PRIORITIES[self.option("priority")]
        return fields

    def reason(self) -> list[list[Any]]:
        """Give who asked and why."""
        now = time.time_ns()
        trail: list[list[Any]] = [[f"gnt:client:{self.program}", self.command.name, now]]
        if self.option("reason"):
            trail.insert(0, ["gnt:user", self.option("reason"), now])
        return trail
