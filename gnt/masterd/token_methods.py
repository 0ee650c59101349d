"""What a LUXI client may ask about tokens, with which new nodes join: `gnt.masterd.join_port` makes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from gnt.masterd.jobs.job import Job
from gnt.masterd.join_port import Offer
from gnt.masterd.luxi_arguments import Method, checked
from gnt.model.errors import WRONG_STATE, Refused
from gnt.opcodes.base import Opcode
from gnt.opcodes.node import NodeAdd
from gnt.wire.luxi_frames import LONGEST_WAIT


class Tokens(Protocol):
    """What makes tokens for new nodes: `gnt.masterd.join_port.JoinPort`."""

    async def offer(
        self, name: str, *, readd: bool = False, secondary_ip: str | None = None, group: str | None = None
    ) -> Offer:
        """Make a token for a node. Raises `Refused` as adding the node would."""

    async def wait(self, identity: str, seconds: float) -> Mapping[str, Any]:
        """Wait until a token has ended, at most that long; say what became of it."""

    def withdraw(self, identity: str) -> Mapping[str, Any]:
        """Make a token worthless; say what became of it."""

    def followed(self, name: str) -> None:
        """Hear that the job is there which adds a node."""


class _TokenOptions(msgspec.Struct, forbid_unknown_fields=True):
    readd: bool = False
    secondary_ip: str | None = None
    group: str | None = None


class _Added(msgspec.Struct):
    """What an opcode as it stands in a job says of a node that is added."""

    OP_ID: str
    node_name: str = ""


def _added(opcode: bytes) -> str:
    """Give the name of the node that an opcode adds; "" for another opcode."""
    if b"OP_NODE_ADD" not in opcode:
        return ""
    found = msgspec.json.decode(opcode, type=_Added)
    return found.node_name if found.OP_ID == "OP_NODE_ADD" else ""


class _OfferToken(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    name: str
    options: _TokenOptions = msgspec.field(default_factory=_TokenOptions)


class _WaitForToken(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: str
    seconds: float


class _TokenId(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: str


class TokenMethods:
    """Answers requests about tokens; `jobs` are those in memory."""

    def __init__(self, jobs: Iterable[Job], tokens: Tokens) -> None:
        self._queue = jobs
        self._tokens = tokens

    def table(self) -> dict[str, Method]:
        """Give the methods."""
        return {
            "OfferToken": checked("OfferToken", _OfferToken, self._offer),
            "WaitForToken": checked("WaitForToken", _WaitForToken, self._wait),
            "WithdrawToken": checked("WithdrawToken", _TokenId, self._withdraw),
        }

    def followed(self, ops: Iterable[Opcode]) -> None:
        """Hear of a job that was taken: it may be the one that adds a node which has joined."""
        for op in ops:
            if isinstance(op, NodeAdd):
                self._tokens.followed(op.node_name)

    async def _offer(self, args: _OfferToken) -> dict[str, Any]:
        options = args.options
        self._refuse_twice(args.name)
        offer = await self._tokens.offer(
            args.name, readd=options.readd, secondary_ip=options.secondary_ip, group=options.group
        )
        try:
            # Once more: the token took a moment, in which a job may have come.
            self._refuse_twice(args.name)
        except Refused:
            self._tokens.withdraw(offer.id)
            raise
        return {
            "id": offer.id,
            "token": offer.token.text(),
            "name": offer.name,
            "uuid": offer.uuid,
            "address": offer.address,
            "addresses": offer.addresses,
            "port": offer.token.port,
            "ssh_port": offer.ssh_port,
            "ends": offer.ends,
        }

    def _refuse_twice(self, name: str) -> None:
        """Refuse a token for a node that is being added: who joins again gets another identity than is recorded."""
        for job in self._queue:
            if not job.final and any(_added(bytes(one.input)) == name for one in job.ops):
                raise Refused(
                    WRONG_STATE, f"Job {job.id} is adding {name} already", hint=f"gnt-job watch {job.id} shows its end"
                )

    async def _wait(self, args: _WaitForToken) -> Mapping[str, Any]:
        return await self._tokens.wait(args.id, min(args.seconds, LONGEST_WAIT))

    async def _withdraw(self, args: _TokenId) -> Mapping[str, Any]:
        return self._tokens.withdraw(args.id)
