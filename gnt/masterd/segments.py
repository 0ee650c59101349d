"""What the engine writes down before it acts: the open part of a plan, as it stands in the store.

A plan falls into segments, each ending at a milestone (`Keep`, `Forget`) or at the end of the stage. Before the first
call of a segment is sent, one row records it together with all that follows: what undoes each step, what finishes it,
and what the model becomes. One commit opens a segment and, in the same commit, keeps the milestone before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Union

import msgspec

from gnt.masterd.plan import (
    Action,
    Await,
    ByItself,
    Entrust,
    Forget,
    Forward,
    Keep,
    Note,
    Pause,
    Plan,
    Promote,
    Reconnect,
    Release,
    Reserve,
    Step,
    Tell,
    Together,
    Uncertain,
    Undoable,
)
from gnt.model.cluster import Kind, decode, encode, kind_of
from gnt.model.objects import ConfigObject, Node
from gnt.wire.calls import NodeCall, call_types

if TYPE_CHECKING:
    AnyCall: TypeAlias = NodeCall[Any]
else:
    AnyCall = Union[tuple(call_types().values())]  # noqa: UP007


NotCall: TypeAlias = ByItself
NOT_CALLS: Final = (Note, Pause, Await, Release, Promote, Tell, Reconnect, Entrust)


class StoredObject(msgspec.Struct, frozen=True):
    """A configuration object as it stands in a row."""

    kind: Kind
    value: msgspec.Raw

    @classmethod
    def of(cls, obj: ConfigObject) -> StoredObject:
        """Store an object."""
        return cls(kind_of(obj), msgspec.Raw(encode(obj)))

    def load(self) -> ConfigObject:
        """Give the object."""
        return decode(self.kind, bytes(self.value))


class StoredCall(msgspec.Struct, frozen=True):
    """A node call as it stands in a row."""

    node: str
    call: AnyCall

    @classmethod
    def of(cls, action: Action) -> StoredCall:
        """Store an action."""
        return cls(action.node, action.call)

    def action(self) -> Action:
        """Give the action."""
        return Action(self.node, self.call)


class OpenStep(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a segment: its id, its node, and what recovery needs to settle it.

    Exactly one of three kinds: undoable (`undo`, may be None), forward (`forward`), uncertain (`settle`).
    """

    id: str
    node: str
    name: str
    undo: StoredCall | None = None
    forward: StoredCall | None = None
    tolerant: bool = False
    owed: bool = True
    until_done: bool = False
    settle: str = ""
    arguments: dict[str, Any] = {}

    @property
    def onward(self) -> bool:
        """Say whether this step lies past the point of no return."""
        return self.forward is not None or bool(self.settle)


class OpenSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment: what it reserved, its calls, and the milestone that it leads to."""

    reserved: list[StoredObject] = []
    steps: list[OpenStep] = []
    keep: list[StoredObject] = []
    forget: list[StoredObject] = []


class OpenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the space `undo`: the segment that is open, and those after it in the same stage.

    `kept`: a milestone of the opcode was kept before; then a segment that only goes onward is finished, not dropped.
    `last`: there is nothing to change after these segments. Without segments a row only says that, while none is open.
    """

    kept: bool = False
    last: bool = False
    segments: list[OpenSegment]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(OpenRow)


def encode_row(row: OpenRow) -> bytes:
    """Encode a row for the store."""
    return _encoder.encode(row)


def decode_row(value: bytes) -> OpenRow:
    """Decode a row from the store."""
    return _decoder.decode(value)


class Doing(msgspec.Struct, frozen=True):
    """One call of a segment as the engine runs it: its id, what to do, the step it stands in."""

    id: str
    do: Action
    step: Undoable | Forward | Uncertain


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment as the engine runs it: `groups` of calls that go side by side, with notes and pauses between them."""

    reserve: tuple[ConfigObject, ...]
    groups: tuple[tuple[Doing, ...] | NotCall, ...]
    keep: tuple[ConfigObject, ...]
    forget: tuple[ConfigObject, ...]

    @property
    def changes(self) -> bool:
        """Say whether it changes anything, be it on a node or in the model."""
        return bool(self.reserve or self.keep or self.forget) or any(True for _ in self.doings())

    def doings(self) -> Iterator[Doing]:
        """Go through all calls in order."""
        for group in self.groups:
            if not isinstance(group, NOT_CALLS):
                yield from group

    def stored(self) -> OpenSegment:
        """Give the form that stands in a row."""
        return OpenSegment(
            reserved=[StoredObject.of(obj) for obj in self.reserve],
            steps=[_open_step(doing) for doing in self.doings()],
            keep=[StoredObject.of(obj) for obj in self.keep],
            forget=[StoredObject.of(obj) for obj in self.forget],
        )


def _open_step(doing: Doing) -> OpenStep:
    step, node, name = doing.step, doing.do.node, doing.do.call.tag()
    match step:
        case Undoable():
            undo = StoredCall.of(step.undo) if step.undo is not None else None
            return OpenStep(id=doing.id, node=node, name=name, undo=undo)
        case Forward():
            do = StoredCall.of(step.do)
            return OpenStep(
                id=doing.id,
                node=node,
                name=name,
                forward=do,
                tolerant=step.tolerant,
                owed=step.owed,
                until_done=step.until_done,
            )
        case Uncertain():
            return OpenStep(id=doing.id, node=node, name=name, settle=step.settle, arguments=step.arguments)


def segments_of(plan: Plan, prefix: str) -> list[Segment]:
    """Cut a plan at its milestones; the calls get the ids `<prefix>/<number>`.

    Raises `AssertionError` for a plan that could not be settled after a crash: a `Reserve` after a call of the same
    segment, or an `Undoable` past the point of no return.
    """
    segments: list[Segment] = []
    reserve: tuple[ConfigObject, ...] = ()
    groups: list[tuple[Doing, ...] | NotCall] = []
    number, onward, called = 0, False, False
    for step in plan.steps:
        match step:
            case Note() | Pause() | Await() | Release() | Promote() | Tell() | Reconnect() | Entrust():
                groups.append(step)
            case Reserve():
                if called:
                    raise AssertionError("a Reserve stands after a call of its segment")
                reserve += step.objects
            case Keep() | Forget():
                segments.append(_closed(reserve, groups, step))
                reserve, groups, onward, called = (), [], False, False
            case Undoable() | Forward() | Uncertain() | Together():
                group = []
                for part in step.steps if isinstance(step, Together) else (step,):
                    if isinstance(part, Undoable) and onward:
                        raise AssertionError("an Undoable stands past the point of no return")
                    onward = onward or not isinstance(part, Undoable)
                    number += 1
                    group.append(Doing(f"{prefix}/{number}", part.do, part))
                groups.append(tuple(group))
                called = True
    if reserve or groups:
        segments.append(Segment(reserve=reserve, groups=tuple(groups), keep=(), forget=()))
    return _merged(segments)


def _closed(reserve: tuple[ConfigObject, ...], groups: list[tuple[Doing, ...] | NotCall], step: Step) -> Segment:
    keep = step.objects if isinstance(step, Keep) else ()
    forget = step.objects if isinstance(step, Forget) else ()
    return Segment(reserve=reserve, groups=tuple(groups), keep=keep, forget=forget)


def has_node(objects: Iterable[ConfigObject]) -> bool:
    """Say whether a node is among these: its milestone may be a change of voters, which is a commit of its own."""
    return any(isinstance(obj, Node) for obj in objects)


def _merged(segments: list[Segment]) -> list[Segment]:
    """Join a milestone that follows another one directly with it: both are one commit."""
    merged: list[Segment] = []
    for segment in segments:
        last = merged[-1] if merged else None
        plain = not segment.groups and not segment.reserve and not (last and has_node(last.keep + segment.keep))
        if last and plain and (last.keep or last.forget):
            merged[-1] = msgspec.structs.replace(
                last, keep=last.keep + segment.keep, forget=last.forget + segment.forget
            )
        else:
            merged.append(segment)
    return merged
