"""Who has heard of whom: what follows from what nodes acknowledge, and of whom a candidate has to ask more."""

from __future__ import annotations

import msgspec
import pytest

from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE
from gnt.store.heard import NOBODY, Heard, decode_heard, digests, encode_heard, revised, unheard, why_not
from tests.masterd.journal_world import cluster_of, node, with_certificates

CLUSTER = with_certificates(cluster_of("ab", "n"))
ALL = Heard({"a": ["digest-a"], "b": ["digest-b"]}, ["a", "b", "n"])


def promoted(cluster: Cluster, uuid: str) -> Cluster:
    """Give the cluster with one more candidate."""
    return with_certificates(cluster.put(node(uuid)))


def test_a_row_comes_back_as_it_was() -> None:
    """Where there is none, nobody has heard anything."""
    assert decode_heard(encode_heard(ALL)) == ALL
    assert decode_heard(None) == NOBODY


def test_what_every_online_node_has_acknowledged_is_written_once() -> None:
    """Told again it is no news."""
    assert revised(NOBODY, CLUSTER, "abn") == ALL
    assert revised(ALL, CLUSTER, "abn") is ALL


def test_a_single_candidate_needs_no_row() -> None:
    """Nobody could take over."""
    alone = with_certificates(cluster_of("a", "n"))
    assert revised(NOBODY, alone, "an") == NOBODY
    assert revised(ALL, alone, "an") == NOBODY


def test_nothing_is_said_of_a_candidate_before_all_have_heard() -> None:
    """What was so before stays so while one is away; a node that was told meanwhile knows of the others."""
    cluster = promoted(CLUSTER, "c")
    assert revised(ALL, cluster, "ab") == ALL
    assert revised(ALL, cluster, "abc") == msgspec.structs.replace(ALL, nodes=["a", "b", "c", "n"])
    everybody = Heard({**ALL.candidates, "c": ["digest-c"]}, ["a", "b", "c", "n"])
    assert revised(ALL, cluster, "abcn") == everybody


def test_a_node_that_is_flagged_offline_is_not_waited_for_and_has_not_heard() -> None:
    """It has to hear what it missed before it counts again."""
    away = promoted(CLUSTER.put(node("n", candidate=False, offline=True)), "c")
    without = revised(ALL, away, "abc")
    assert (sorted(without.candidates), without.nodes) == (["a", "b", "c"], ["a", "b", "c"])
    back = away.put(node("n", candidate=False))
    assert revised(without, back, "abc") == without
    assert unheard(without, back, "c") == ["n"]
    assert revised(without, back, "abcn").nodes == ["a", "b", "c", "n"]


def test_a_digest_that_counts_no_more_is_left_out_at_once() -> None:
    """Some may have heard of the end of it: should it count again, all have to hear that anew."""
    three = revised(ALL, promoted(CLUSTER, "c"), "abcn")
    demoted = with_certificates(promoted(CLUSTER, "c").put(node("c", candidate=False)))
    less = revised(three, demoted, "")
    assert sorted(less.candidates) == ["a", "b"]
    assert revised(less, promoted(CLUSTER, "c"), "abc").candidates == less.candidates


def test_a_node_that_has_left_is_forgotten_at_once() -> None:
    """One that comes under its UUID later has heard nothing."""
    gone = promoted(CLUSTER, "c").drop(CLUSTER.nodes["n"])
    assert revised(ALL, gone, "").nodes == ["a", "b"]
    assert revised(ALL, CLUSTER.drop(CLUSTER.nodes["n"]), "ab").nodes == ["a", "b"]


def test_both_certificates_must_be_known_while_they_are_renewed() -> None:
    """A candidate may use either; when the former one counts no more nothing has to be said anew."""
    settings = CLUSTER.settings
    both = CLUSTER.put(msgspec.structs.replace(settings, renewed_certs={"a": "new-a", "b": "new-b", "n": "new-n"}))
    assert digests(both) == {"a": ["digest-a", "new-a"], "b": ["digest-b", "new-b"]}
    assert unheard(ALL, both, "b") == ["a", "b", "n"]
    heard = revised(ALL, both, "abn")
    assert unheard(heard, both, "b") == []
    renewed = CLUSTER.put(msgspec.structs.replace(settings, candidate_certs={"a": "new-a", "b": "new-b"}))
    assert revised(heard, renewed, "") == Heard({"a": ["new-a"], "b": ["new-b"]}, ["a", "b", "n"])


@pytest.mark.parametrize(
    ("heard", "left"), [(ALL, []), (Heard(ALL.candidates, ["a"]), ["b", "n"]), (NOBODY, ["a", "b", "n"])]
)
def test_who_is_left_to_be_asked(heard: Heard, left: list[str]) -> None:
    """Nodes flagged offline are not."""
    assert unheard(heard, CLUSTER.put(node("z", candidate=False, offline=True)), "b") == left


def test_a_refusal_is_one_line_that_names_nodes_and_ways_out() -> None:
    """Those that said no stand without a reason."""
    one = why_not(CLUSTER, "b", {"n": ""})
    assert one.text == "node-n has not heard yet that node-b is a master candidate, and would take no orders from it"
    two = why_not(CLUSTER, "b", {"a": "no answer", "n": ""})
    assert two.code == WRONG_STATE
    assert two.text.startswith("node-a (no answer) and node-n have not heard yet")
    assert "gnt-node modify --offline=yes node-a; gnt-node modify --offline=yes node-n" in two.hint
    assert "\n" not in str(two)
