"""The door of a node: who may call what. Thin: reading, rights, answering; what is done is the calls' business.

A changing call is taken only from a master candidate: the certificate with which the caller proved itself is in the
candidate list of this node's own copy of the configuration. Reading is open to every node of the cluster.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from gnt.noded.calls import Calls
from gnt.noded.membership import MembershipFile
from gnt.wire.calls import NodeCall, Rights, StopMaster
from gnt.wire.contract import Caller, INodeDaemon, Listener, NodeEvent, StopListening
from gnt.wire.envelope import NOT_ALLOWED, Answer, BadRequest, decode_request, encode_answer
from gnt.wire.log_calls import AskStanding, Fence, Standing

log: Final = Logger()


@implementer(INodeDaemon)
class NodeDoor:
    """What the transports hand requests to: `gnt.wire.contract.INodeDaemon`."""

    def __init__(self, calls: Calls, membership: MembershipFile, events: Events) -> None:
        self._calls = calls
        self._membership = membership
        self._events = events

    def identity(self) -> tuple[str, str]:
        """Give the node's name and UUID; both empty when it belongs to no cluster any more."""
        member = self._membership.current
        return ("", "") if member is None else (member.node_name, member.node_uuid)

    def listen(self, listener: Listener) -> StopListening:
        """Tell `listener` of every event."""
        return self._events.listen(listener)

    def call(self, request: bytes, caller: Caller) -> Deferred[bytes]:
        """Perform an encoded request, if this caller may ask it."""
        try:
            decoded = decode_request(request)
        except BadRequest as problem:
            log.info("request of {who} refused: {problem}", who=caller.common_name, problem=problem)
            return succeed(encode_answer(problem.answer))
        refusal = self._refusal(decoded.call, caller)
        if refusal is not None:
            log.warn("{tag} of {who} refused", tag=decoded.call.tag(), who=caller.common_name)
            return succeed(encode_answer(refusal))
        if isinstance(decoded.call, Rights):
            return succeed(encode_answer(Answer.value(self._membership.may_order(caller.digest))))
        if isinstance(decoded.call, AskStanding):
            return succeed(encode_answer(self._standing(caller)))
        return ensureDeferred(self._calls.perform(decoded, caller)).addCallback(encode_answer)

    def _standing(self, caller: Caller) -> Answer:
        member = self._membership.current
        assert member is not None  # noqa: S101  (whoever belongs to no cluster has refused before)
        may = self._membership.may_order(caller.digest)
        return Answer.value(Standing(may_order=may, position=member.position))

    def _refusal(self, call: NodeCall[object], caller: Caller) -> Answer | None:
        """Say why this caller may not make this call; None if it may."""
        member = self._membership.current
        if member is None:
            return Answer.error(NOT_ALLOWED, "this node belongs to no cluster")
        orders = type(call).CHANGES or isinstance(call, Fence | StopMaster)
        if not orders or self._membership.may_order(caller.digest):
            return None
        return Answer.error(
            NOT_ALLOWED,
            f"{member.node_name} takes {call.tag()} from master candidates only, and {caller.common_name} with"
            f" certificate {caller.digest[:16]}… is none",
            hint="its certificate may have been renewed, or this node may have missed a change: gnt-cluster verify",
        )


class Events:
    """Hands events to whoever listens at the moment."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def listen(self, listener: Listener) -> StopListening:
        """Tell `listener` of every event until the function that comes back is called."""
        place = object()
        self._listeners[place] = listener

        def stop() -> None:
            self._listeners.pop(place, None)

        return stop

    def emit(self, event: NodeEvent) -> None:
        """Tell all; one that fails keeps no other from hearing."""
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception:  # noqa: BLE001
                log.failure("telling of an event")
