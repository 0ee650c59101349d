"""What the nodes are told of the configuration, and when."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.masterd.hearing import Hearing
from gnt.masterd.mastership import Term
from gnt.masterd.publish import Publisher
from gnt.model.errors import InDoubt
from gnt.model.objects import Instance
from gnt.store.changes import Space
from gnt.store.heard import HEARD, Heard, decode_heard
from gnt.wire.calls import Configure
from gnt.wire.log_calls import LogDiscard
from tests.masterd.journal_world import meta, node
from tests.masterd.nodes_world import REFUSED, NodesWorld

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]


class Published:
    """A master that tells its nodes."""

    def __init__(self, candidates: str = "ab", others: str = "n", *, heard: bool = False) -> None:
        self.world = NodesWorld(candidates, others, heard=heard)
        beginning = self.world.begin()
        self.world.turn()
        self.term: Term = _trial.successResultOf(beginning)
        self.publisher = Publisher(self.world.runtime, self.term.journal, self.term.nodes, "1.2.3")
        self.publisher.start(self.heard())
        self.world.turn()

    def put(self, *objects: Any) -> None:
        """Commit objects."""
        journal = self.term.journal
        done = journal.enqueue(journal.object_changes(put=objects))
        self.world.turn()
        _trial.successResultOf(done)

    def heard(self) -> Heard:
        """Give who has heard of whom, as the log says."""
        return decode_heard(self.world.vaults["a"].open().get(Space.META, HEARD))

    def serial(self) -> int:
        """Give the serial of the newest entry that is committed."""
        return self.term.journal.committed

    def told(self, uuid: str) -> list[Configure]:
        """Give what a node was told."""
        return self.world.nodes[uuid].told(Configure)


def test_everybody_is_told_at_the_beginning() -> None:
    """Membership and ssconf for all; the configuration for candidates only."""
    published = Published(heard=True)
    (master,), (candidate,), (regular,) = (published.told(uuid) for uuid in "abn")
    assert regular.files["master_node"] == "node-a\n"
    assert regular.files["release_version"] == "1.2.3\n"
    assert regular.config_data is None
    assert json.loads(candidate.config_data or "")["cluster"]["cluster_name"] == "cluster.example.com"
    assert master.config_data == candidate.config_data
    membership = regular.membership
    assert (membership.node_uuid, membership.node_name, membership.cluster_uuid) == ("n", "node-n", "c")
    assert membership.position == published.term.journal.position
    assert published.publisher.behind() == {}


def test_membership_lists_the_certificates_of_voters_only() -> None:
    """A digest that is recorded for a node that is no candidate gives it no right."""
    published = Published()
    settings = published.term.journal.cluster.settings
    certificates = {"a": "aa", "b": "bb", "n": "nn"}
    renewed = {"b": "b2", "n": "n2"}
    published.put(msgspec.structs.replace(settings, candidate_certs=certificates, renewed_certs=renewed))
    published.world.turn(1)
    assert published.told("n")[-1].membership.candidates == {"a": "aa", "b": "bb"}
    assert published.told("n")[-1].membership.renewed == {"b": "b2"}


def test_a_change_is_told_to_those_whom_it_concerns() -> None:
    """An instance's state changes config.data only, a job nothing."""
    published = Published()
    instance = Instance(uuid="i", name="web1.example.com", primary_node="n")
    published.put(instance)
    published.world.turn(1)
    assert [len(published.told(uuid)) for uuid in "abn"] == [2, 2, 2]
    published.put(msgspec.structs.replace(instance, disks_active=True))
    published.world.turn(1)
    assert [len(published.told(uuid)) for uuid in "abn"] == [3, 3, 2]
    published.term.journal.enqueue([meta("x")])
    published.world.turn(1)
    assert [len(published.told(uuid)) for uuid in "abn"] == [3, 3, 2]


def test_many_changes_are_told_together() -> None:
    """At most once a second to each node, the latest state."""
    published = Published()
    for number in range(20):
        published.put(Instance(uuid=f"i{number}", name=f"web{number}.example.com", primary_node="n"))
    published.world.turn(1)
    told = published.told("b")
    assert len(told) == 2
    assert len(json.loads(told[-1].config_data or "")["instances"]) == 20


def test_a_node_that_was_away_or_refused_is_told_later() -> None:
    """It is named meanwhile, and nobody waits for it."""
    published = Published()
    published.world.turn(1)
    published.world.down("n")
    published.world.nodes["b"].failing[Configure] = REFUSED
    published.put(Instance(uuid="i", name="web1.example.com", primary_node="n"))
    published.world.turn(1)
    assert published.publisher.behind()["b"] == "no"
    assert set(published.publisher.behind()) == {"b", "n"}
    del published.world.nodes["b"].failing[Configure]
    published.world.up("n")
    published.world.turn(30)
    assert published.publisher.behind() == {}
    assert published.told("n")[-1].files["instance_list"] == "web1.example.com\n"


def test_flush_waits_for_those_that_can_be_reached() -> None:
    """Fires at once when all is told."""
    published = Published()
    _trial.successResultOf(Deferred.fromCoroutine(published.publisher.flush()))
    published.put(Instance(uuid="i", name="web1.example.com", primary_node="n"))
    flushing = Deferred.fromCoroutine(published.publisher.flush())
    _trial.assertNoResult(flushing)
    published.world.turn(1)
    _trial.successResultOf(flushing)
    assert published.told("n")[-1].files["instance_list"] == "web1.example.com\n"


def test_nodes_come_and_go() -> None:
    """A new one is told at once; one flagged offline is left alone until it is back."""
    published = Published()
    published.put(node("o", candidate=False))
    assert published.told("o")[0].membership.node_name == "node-o"
    published.put(msgspec.structs.replace(node("o", candidate=False), offline=True))
    published.put(Instance(uuid="i", name="web1.example.com", primary_node="n"))
    published.world.turn(60)
    assert len(published.told("o")) == 1
    published.put(node("o", candidate=False))
    published.world.turn(60)
    assert published.told("o")[-1].files["offline_nodes"] == ""


def test_a_demoted_node_sets_its_copy_aside() -> None:
    """And gets no more configuration than others."""
    published = Published()
    published.put(msgspec.structs.replace(node("b"), master_candidate=False))
    published.world.turn(1)
    assert len(published.world.nodes["b"].told(LogDiscard)) == 1
    assert not published.world.vaults["b"].exists()
    assert published.told("b")[-1].config_data is None


def test_a_node_that_did_not_become_a_candidate_gives_up_what_it_got() -> None:
    """Once, and with a limit beyond the newest entry: its log may have come so far."""
    published = Published()
    published.world.turn(5)
    before = [call.before for call in published.world.nodes["n"].told(LogDiscard)]
    published.publisher.forsake("n")
    published.world.turn(60)
    after = [call.before for call in published.world.nodes["n"].told(LogDiscard)]
    end = published.term.journal.end
    assert after == [*before, msgspec.structs.replace(end, serial=end.serial + 1)]
    published.publisher.forsake("b")
    published.world.turn(60)
    assert published.world.nodes["b"].told(LogDiscard) == []


def promoted(published: Published, uuid: str) -> None:
    """Make a regular node a candidate."""
    adding = Deferred.fromCoroutine(published.term.journal.add_voter(uuid))
    published.world.turn()
    _trial.successResultOf(adding)
    settings = published.term.journal.cluster.settings
    certificates = {**settings.candidate_certs, uuid: f"digest-{uuid}"}
    published.put(node(uuid), msgspec.structs.replace(settings, candidate_certs=certificates))


def test_that_all_have_heard_of_the_candidates_is_written_down() -> None:
    """Once, when the last online node has acknowledged; where the log says it already nothing is written."""
    published = Published()
    published.world.turn(1)
    everybody = Heard({"a": ["digest-a"], "b": ["digest-b"]}, ["a", "b", "n"])
    assert published.heard() == everybody
    serial = published.serial()
    published.put(Instance(uuid="i", name="web1.example.com", primary_node="n"))
    published.world.turn(5)
    assert published.serial() == serial + 1
    again = Published(heard=True)
    assert again.heard() == everybody
    assert again.serial() == 2


def test_a_candidate_counts_as_heard_of_when_the_last_node_has_acknowledged() -> None:
    """Not while one that is flagged online is away; with one commit then."""
    published = Published("ab", "mn")
    published.world.turn(1)
    published.world.down("n")
    promoted(published, "m")
    published.world.turn(60)
    assert sorted(published.heard().candidates) == ["a", "b"]
    serial = published.serial()
    published.world.up("n")
    published.world.turn(60)
    assert (sorted(published.heard().candidates), published.heard().nodes) == (["a", "b", "m"], ["a", "b", "m", "n"])
    assert published.serial() == serial + 1


def test_a_demotion_is_written_down_at_once() -> None:
    """Before anything can follow it: a promotion after it has to be heard by all."""
    published = Published("abc", "n")
    published.world.turn(1)
    settings = published.term.journal.cluster.settings
    less = {uuid: f"digest-{uuid}" for uuid in "ab"}
    published.put(node("c", candidate=False), msgspec.structs.replace(settings, candidate_certs=less))
    assert sorted(published.heard().candidates) == ["a", "b"]
    published.world.turn(1)
    published.world.down("n")
    promoted(published, "c")
    published.world.turn(60)
    assert sorted(published.heard().candidates) == ["a", "b"]


def test_a_node_whose_answer_was_lost_is_told_again() -> None:
    """Nobody knows which of the two it has, though the second is what it had before."""
    published = Published()
    published.world.turn(1)
    settings = published.term.journal.cluster.settings
    other = msgspec.structs.replace(settings, candidate_certs={"a": "digest-a", "b": "other"})
    published.world.nodes["n"].failing[Configure] = InDoubt("the answer was lost")
    published.put(other)
    published.put(msgspec.structs.replace(other, candidate_certs=settings.candidate_certs))
    before = len(published.told("n"))
    del published.world.nodes["n"].failing[Configure]
    published.world.turn(5)
    assert len(published.told("n")) == before + 1
    assert published.heard().candidates["b"] == ["digest-b"]


def test_what_could_not_be_written_is_written_later() -> None:
    """When changes are taken again: nobody has to change anything for that."""
    published = Published()
    hearing = Hearing(published.world.runtime, published.term.journal)
    published.publisher.stop()
    hearing.begin(published.heard())
    published.world.down("b")
    published.term.journal.enqueue([meta("x")]).addErrback(lambda _: None)
    published.world.turn(31)
    hearing.revise(("b", "n"))
    before = published.serial()
    hearing.revise("abn")
    published.world.turn(5)
    assert published.serial() == before
    published.world.up("b")
    published.world.turn(5)
    assert published.heard().nodes == ["a", "b", "n"]
    hearing.stop()


def test_stopping_ends_everything() -> None:
    """Nothing is told afterwards."""
    published = Published()
    published.publisher.stop()
    published.put(Instance(uuid="i", name="web1.example.com", primary_node="n"))
    published.world.turn(60)
    assert [len(published.told(uuid)) for uuid in "abn"] == [1, 1, 1]
