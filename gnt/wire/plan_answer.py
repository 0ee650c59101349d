"""What a master answers who asks what a job would do (`PlanJob`)."""

from __future__ import annotations

import msgspec


class PlanLock(msgspec.Struct, frozen=True):
    """A lock that an opcode would take: level, name for people (`all`: the whole level), `exclusive` or `shared`."""

    level: str
    name: str
    mode: str


class PlanStep(msgspec.Struct, frozen=True):
    """A step that an opcode would do; those with one number go side by side. `node` and `call` may be empty."""

    number: int
    kind: str
    node: str
    call: str
    text: str


class PlanRefusal(msgspec.Struct, frozen=True):
    """Why an opcode would be refused."""

    code: str
    text: str
    hint: str


class OpcodePlan(msgspec.Struct, frozen=True):
    """What an opcode would do: `gnt.masterd.planning`. `then` says what is known of the stages after the first."""

    summary: str
    locks: list[PlanLock]
    nodes: list[str]
    steps: list[PlanStep]
    notes: list[str]
    then: list[str]
    refused: PlanRefusal | None
