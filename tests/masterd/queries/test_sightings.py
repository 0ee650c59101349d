"""What nodes were seen to be like: how long an answer serves, who shares it, what a silent node costs."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gnt.masterd.queries.sightings import FRESH, GRACE, PATIENCE, Sightings
from gnt.model.errors import InDoubt, NotReached
from gnt.model.objects import HypervisorName
from gnt.model.specs import InstanceSpec
from gnt.wire.calls import NodeCall, NodeInfo
from gnt.wire.contract import CallProgress, GuestChanged
from gnt.wire.guest_calls import GuestConsole, GuestList

GUESTS = GuestList(hypervisors={"kvm": {}})


class Nodes:
    """Nodes that answer when the test lets them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, NodeCall[Any], Deferred[Any]]] = []

    async def call(self, node: str, call: NodeCall[Any], *, deadline: float | None = None) -> Any:
        """Wait for the test."""
        assert deadline == PATIENCE
        answer: Deferred[Any] = Deferred()
        self.made.append((node, call, answer))
        return await answer


class Room:
    """Sightings on a false clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.nodes = Nodes()
        self.sightings = Sightings(self.nodes, self.clock)

    def ask(self, *wanted: tuple[str, NodeCall[Any]]) -> list[Any]:
        """Begin to ask; what comes is put into the list."""
        came: list[Any] = []
        self.asking = Deferred.fromCoroutine(self.sightings.ask_all(wanted or [("n1", GUESTS)]))
        self.asking.addBoth(came.append)
        return came

    def answer(self, value: Any, question: int = -1) -> None:
        """Let a node answer a question, the last one unless another is meant."""
        self.nodes.made[question][2].callback(value)

    @property
    def questions(self) -> int:
        """How many calls went to nodes."""
        return len(self.nodes.made)


@pytest.fixture
def room() -> Room:
    """Give a room."""
    return Room()


def test_queries_of_one_second_share_an_answer(room: Room) -> None:
    """One that begins within a second of the question gets its answer, one that begins later has it asked anew."""
    room.ask()
    room.answer(["web1"])
    room.clock.advance(FRESH)
    assert room.ask() == [[["web1"]]]
    assert room.questions == 1
    room.clock.advance(0.01)
    late = room.ask()
    assert (late, room.questions) == ([], 2)
    room.answer(["web2"])
    assert late == [[["web2"]]]


def test_age_counts_from_the_question(room: Room) -> None:
    """An answer that was long on its way may have been observed at its beginning: it serves nobody who comes later."""
    first = room.ask()
    room.clock.advance(FRESH + 0.1)
    room.answer(["old"])
    assert first == [[["old"]]]
    second = room.ask()
    assert (second, room.questions) == ([], 2)
    room.answer(["new"])
    assert second == [[["new"]]]


def test_a_slow_node_is_asked_once_and_all_who_wait_get_its_answer(room: Room) -> None:
    """However many queries come while it works on a question, it is not made slower by another of the kind."""
    came = []
    for _ in range(4):
        came.append(room.ask())
        room.clock.advance(FRESH + 0.1)
    assert (came, room.questions) == ([[]] * 4, 1)
    room.answer(["web1"])
    assert came == [[[["web1"]]]] * 4
    assert (room.ask(), room.questions) == ([], 2)


def test_the_failure_of_a_slow_question_is_told_to_all_who_wait(room: Room) -> None:
    """All hear it, and the next query asks anew."""
    came = [room.ask()]
    room.clock.advance(FRESH + 0.1)
    came.append(room.ask())
    lost = NotReached("the connection was lost")
    room.answer(Failure(lost))
    assert came == [[[lost]], [[lost]]]
    back = room.ask()
    room.answer(["web1"])
    assert (back, room.questions) == ([[["web1"]]], 2)


def test_queries_join_a_question_that_is_under_way(room: Room) -> None:
    """Many that come at once cost a node one call."""
    came = [room.ask() for _ in range(5)]
    assert room.questions == 1
    room.answer(["web1"])
    assert came == [[[["web1"]]]] * 5


def test_other_questions_are_not_answered_by_it(room: Room) -> None:
    """Another node, another kind of call, other arguments."""
    room.ask(("n1", GUESTS), ("n2", GUESTS), ("n1", NodeInfo()))
    room.ask(("n1", GuestList(hypervisors={"kvm": {}, "fake": {}})))
    assert [(node, type(call)) for node, call, _ in room.nodes.made] == [
        ("n1", GuestList),
        ("n2", GuestList),
        ("n1", NodeInfo),
        ("n1", GuestList),
    ]


def test_calls_about_one_guest_are_not_kept(room: Room) -> None:
    """The way to a console is asked for each time."""
    spec = InstanceSpec(name="web1", uuid="i1", hypervisor=HypervisorName.FAKE, os="")
    console = GuestConsole(instance=spec, node_name="node1")
    room.ask(("n1", console))
    room.ask(("n1", console))
    assert room.questions == 2


def test_who_changes_a_node_sees_the_change(room: Room) -> None:
    """After a change nothing from before it is shown, not even an answer that is under way; other nodes are as ever."""
    before = room.ask(("n1", GUESTS), ("n2", GUESTS))
    room.sightings.forget("n1")
    later = room.ask(("n1", GUESTS), ("n2", GUESTS))
    room.answer(["before"], 0)
    room.answer([], 1)
    assert (before, later) == ([[["before"], []]], [])
    assert [node for node, _, _ in room.nodes.made] == ["n1", "n2", "n1"]
    room.answer(["after"], 2)
    assert later == [[["after"], []]]
    assert (room.ask(), room.questions) == ([[["after"]]], 3)


def test_many_changes_of_a_slow_node_make_one_more_question(room: Room) -> None:
    """It is sent when the one that was under way has ended, so it shows all of them."""
    room.ask()
    came = []
    for _ in range(5):
        room.sightings.forget("n1")
        came.append(room.ask())
    assert room.questions == 1
    room.answer(["before"], 0)
    assert (came, room.questions) == ([[]] * 5, 2)
    room.answer(["after"], 1)
    assert came == [[[["after"]]]] * 5


def test_a_question_that_nobody_waits_for_is_not_sent(room: Room) -> None:
    """Who wanted it has run out of patience before its turn came; the next query asks."""
    room.ask()
    room.clock.advance(0.1)
    room.sightings.forget("n1")
    room.ask()
    room.asking.cancel()
    room.answer(["before"], 0)
    assert room.questions == 1
    assert (room.ask(), room.questions) == ([], 2)


def test_a_node_is_not_silent_because_a_question_waited_for_its_turn(room: Room) -> None:
    """The second question had no full patience; later queries give the node theirs."""
    room.ask()
    room.clock.advance(PATIENCE - 1)
    room.sightings.forget("n1")
    late = room.ask()
    room.clock.advance(0.5)
    room.answer(["before"], 0)
    room.clock.advance(PATIENCE - 0.5)
    assert isinstance(late[0][0], InDoubt)
    patient = room.ask()
    room.clock.advance(GRACE)
    room.answer(["after"], 1)
    assert (patient, room.questions) == ([[["after"]]], 2)


def test_what_a_node_tells_ends_what_was_seen_there(room: Room) -> None:
    """A guest that changed by itself does; a line about a job does not."""
    room.ask()
    room.answer([])
    room.sightings.told("n1", CallProgress(id="c", text="half"))
    assert room.ask() == [[[]]]
    room.sightings.told("n1", GuestChanged(uuid="i1", name="web1", hypervisor="kvm", state="stopped"))
    assert (room.ask(), room.questions) == ([], 2)


def test_a_silent_node_costs_its_deadline_once(room: Room) -> None:
    """The first query waits for it, later ones only a moment, until it has answered again."""
    first = room.ask(("n1", GUESTS), ("n2", GUESTS))
    room.answer(["web2"], 1)
    room.clock.advance(PATIENCE)
    ((silent, seen),) = first
    assert isinstance(silent, InDoubt)
    assert seen == ["web2"]
    for _ in range(3):
        again = room.ask(("n1", GUESTS))
        assert again == []
        room.clock.advance(GRACE)
        assert isinstance(again[0][0], InDoubt)
        room.clock.advance(FRESH)
    assert room.questions == 2
    room.answer(["web1"], 0)
    patient = room.ask(("n1", GUESTS))
    room.clock.advance(GRACE + FRESH)
    assert patient == []


def test_a_node_that_comes_back_within_the_moment_is_shown(room: Room) -> None:
    """That is why it is given one."""
    room.ask()
    room.clock.advance(PATIENCE)
    back = room.ask()
    room.clock.advance(GRACE / 2)
    room.answer(["web1"])
    assert back == [[["web1"]]]


def test_a_node_that_does_not_answer_has_one_question_open(room: Room) -> None:
    """One, however many ask; each query hears in its time that there is no answer."""
    came = []
    for _ in range(100):
        came.append(room.ask())
        room.clock.advance(0.25)
    room.clock.advance(PATIENCE)
    assert room.questions == 1
    assert all(isinstance(answer, InDoubt) for ((answer,),) in came)


def test_a_node_that_says_it_is_in_doubt_counts_as_silent(room: Room) -> None:
    """The connection may notice the deadline a moment before the query does."""
    first = room.ask()
    room.answer(Failure(InDoubt("no answer in time")))
    assert isinstance(first[0][0], InDoubt)
    room.clock.advance(FRESH + 0.1)
    second = room.ask()
    room.clock.advance(GRACE)
    assert isinstance(second[0][0], InDoubt)


def test_errors_are_answers(room: Room) -> None:
    """A node that cannot be reached is known for that second, and is not waited for."""
    came = room.ask()
    room.answer(Failure(NotReached("no connection")))
    assert isinstance(came[0][0], NotReached)
    assert isinstance(room.ask()[0][0], NotReached)
    assert room.questions == 1


def test_a_fault_of_ours_is_raised_and_not_kept(room: Room) -> None:
    """It is the daemon's mistake, so every query that shares it fails; the next asks anew."""
    came = [room.ask(), room.ask()]
    room.answer(Failure(ZeroDivisionError()))
    assert all(isinstance(each[0].value, ZeroDivisionError) for each in came)
    assert (room.ask(), room.questions) == ([], 2)


def test_a_query_that_is_given_up_leaves_the_others_theirs(room: Room) -> None:
    """Its client has gone; the question goes on for who shares it, and no timer is left behind."""
    kept = room.ask()
    gone = room.ask()
    room.asking.cancel()
    assert isinstance(gone[0].value, CancelledError)
    room.answer(["web1"])
    assert kept == [[["web1"]]]
    assert room.clock.getDelayedCalls() == []


def test_a_clock_that_is_set_back_keeps_nothing_alive(room: Room) -> None:
    """What was seen at a time that is still to come is not of this second."""
    room.clock.advance(1000)
    room.ask()
    room.answer(["web1"])
    room.clock.rightNow = 10.0
    assert (room.ask(), room.questions) == ([], 2)
