"""The filter language: what passes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.masterd.queries.filters import DEEPEST, MOST_PARTS, parse_filter
from gnt.masterd.queries.patterns import Pattern
from gnt.model.errors import GntError
from tests.masterd.queries.conftest import Desk

EVERY = ["db.web1", "mail", "toy", "web1", "web2", "web10"]

PASSING: list[tuple[Any, list[str]]] = [
    (None, EVERY),
    (["=", "name", "web1"], ["web1"]),
    (["==", "name", "WEB1.Example.Com"], ["web1"]),
    (["|", ["=", "name", "web10"], ["=", "name", "mail"], ["=", "name", "web10"]], ["mail", "web10"]),
    (["=", "name", "i2"], ["web2"]),
    (["=", "pnode", "node1"], ["db.web1", "toy", "web1"]),
    (["!=", "pnode", "node1"], ["mail", "web2", "web10"]),
    (["=", "pnode", "node"], []),
    (["&", ["=", "pnode", "node1"], ["!", ["=", "hypervisor", "fake"]]], ["db.web1", "web1"]),
    (["&"], EVERY),
    (["|"], []),
    (["?", "admin_up"], ["db.web1", "mail", "web1", "web10"]),
    (["!", ["?", "admin_up"]], ["toy", "web2"]),
    (["=", "admin_up", False], ["toy", "web2"]),
    ([">", "be/maxmem", 128], ["web2"]),
    (["<=", "be/maxmem", 128], ["db.web1", "mail", "toy", "web1", "web10"]),
    (["=", "be/vcpus", 2], ["web2"]),
    ([">=", "name", "web1"], ["web1", "web2", "web10"]),
    (["<", "name", "n"], ["db.web1", "mail"]),
    (["=~", "name", "^web[0-9]"], ["web1", "web2", "web10"]),
    (["=~", "name", "(?i)^WEB1\\."], ["web1"]),
    (["=~", "name", "^web.*(\\..*)?$"], ["web1", "web2", "web10"]),
    (["=~", "os", "^deb"], ["web1"]),
    (["=[]", "tags", "prod"], ["web2"]),
    (["!", ["=[]", "tags", "prod"]], ["db.web1", "mail", "toy", "web1", "web10"]),
    (["=[]", "snodes", "node2.example.com"], ["web1"]),
    (["=", "hv/boot_order", "disk"], EVERY),
    (["=", "disk.size/0", 2048], ["db.web1", "mail", "toy", "web2", "web10"]),
    (["=", "network_port", 5900], EVERY),
    ([">", "ctime", 0], []),
    (["?", "tags"], ["web2"]),
    (["=", "hv/acpi", True], ["db.web1", "mail", "toy", "web1", "web10"]),
]


@pytest.mark.parametrize(("query_filter", "names"), PASSING)
def test_what_passes(desk: Desk, query_filter: Any, names: list[str]) -> None:
    """Each operator; a cell without data passes whatever is asked of it."""
    assert desk.names("instance", query_filter) == names
    assert desk.nodes.made == []


REFUSED: list[tuple[Any, str]] = [
    (["=", "nme", "x"], "Can't find field named 'nme'"),
    ("x", "must be a list that begins with an operator"),
    ([], "must be a list that begins with an operator"),
    ([["="]], "must be a list that begins with an operator"),
    ({"a": 1}, "filter {…} must be a list"),
    (["~", "name", "x"], "'~' is not a filter operator"),
    (["!", ["?", "a"], ["?", "b"]], "takes one filter, not 2"),
    (["=", "name"], "takes a field and a value, not 1 arguments"),
    (["?", "name", "x"], "takes a field, not 2 arguments"),
    (["=", 5, "x"], "takes the name of a field, not 5"),
    (["=", "name", ["x"]], "value must be a text or a number, not […]"),
    (["=", "name", None], "value must be a text or a number, not None"),
    (["=", "name", 5], "it is a text and cannot be compared with a number"),
    (["=", "be/maxmem", "512"], "it is a number and cannot be compared with a text"),
    (["=", "be/maxmem", True], "cannot be compared with true or false"),
    (["=", "admin_up", "yes"], "it is true or false and is asked for by its name alone"),
    (["<", "admin_up", True], "it is true or false"),
    (["?", "name"], "it is a text, which is neither true nor false"),
    (["=", "tags", "prod"], "cannot be compared with a text"),
    (["=", "hv/boot_order", 5], "cannot be compared with a number"),
    (["=[]", "name", "x"], "name: it is not a list"),
    (["=[]", "beparams", "x"], "beparams: it is not a list"),
    (["=~", "be/maxmem", "5"], "only texts are matched"),
    (["=~", "tags", "5"], "only texts are matched"),
    (["=~", "name", 5], "a regular expression is a text"),
    (["=~", "name", "("], "is not a regular expression"),
    (["=~", "name", "(a+)+$"], "could take forever"),
    (["=~", "name", "(a|aa)*$"], "could take forever"),
    (["=~", "name", "a?" * 40], "would take too long"),
    (["=~", "name", "a" * 2000], "more than 1024 characters"),
    (["=", "name", "a" * 5000], "more than 4096 characters"),
]


@pytest.mark.parametrize(("query_filter", "text"), REFUSED)
def test_what_is_refused(desk: Desk, query_filter: Any, text: str) -> None:
    """One line that names the field or the operator; LUXI clients see a ParameterError."""
    with pytest.raises(GntError) as caught:
        desk.names("instance", query_filter)
    assert (caught.value.code, text in caught.value.text) == ("parameter_error", True), caught.value.text
    assert "\n" not in caught.value.text


def test_a_mistyped_field_is_told_what_is_near(desk: Desk) -> None:
    """The hint names what may have been meant; where nothing is near there is none."""
    for name, hint in (("nmae", "did you mean name?"), ("qqqqqq", "")):
        with pytest.raises(GntError) as caught:
            desk.names("instance", ["=", name, "x"])
        assert caught.value.hint == hint


def test_depth_and_size_have_limits() -> None:
    """Ten levels are read, eleven are not; nor is a filter of endless breadth."""
    nested: list[Any] = ["?", "admin_up"]
    for _ in range(DEEPEST - 1):
        nested = ["!", nested]
    assert parse_filter(nested) is not None
    with pytest.raises(GntError, match="more than 10 levels"):
        parse_filter(["!", nested])
    with pytest.raises(GntError, match="more than 100000 parts"):
        parse_filter(["|", *[["?", "admin_up"]] * MOST_PARTS])


def test_a_name_that_is_not_there(desk: Desk) -> None:
    """Naming is not searching: a name that nothing has is refused, in a search it finds nothing."""
    with pytest.raises(GntError, match="nosuch is not an instance of this cluster") as caught:
        desk.names("instance", ["|", ["=", "name", "web1"], ["=", "name", "nosuch"]])
    assert caught.value.code == "unknown_entity"
    assert desk.names("instance", ["&", ["=", "name", "nosuch"]]) == []
    with pytest.raises(GntError, match="There is no lock named node/x"):
        desk.query("lock", ["name"], ["=", "name", "node/x"])


def test_times_of_jobs_compare_by_seconds(desk: Desk) -> None:
    """A job that began half a second later began at the same time; one that has not begun passes."""
    rows = desk.query("job", ["id"], ["=", "start_ts", 60])
    assert rows == [[[0, 2]], [[0, 10]]]
    assert desk.query("job", ["id"], [">", "start_ts", 60]) == [[[0, 3]], [[0, 10]]]
    with pytest.raises(GntError, match="cannot be compared with a text"):
        desk.query("job", ["id"], [">", "start_ts", "60"])


def test_what_jobs_carry_can_be_searched(desk: Desk) -> None:
    """Results are kept encoded; they compare as what they are."""
    assert desk.query(
        "job", ["id"], ["&", ["=", "status", "success"], ["=[]", "summary", "TEST_DELAY(1000000000 ns)"]]
    ) == [[[0, 2]]]
    assert len(desk.query("job", ["id"], ["=[]", "opstatus", "queued"])) == 1
    assert desk.query("job", ["id"], ["=[]", "opresult", "x"]) == []


def code_of(function: Callable[[], Any]) -> str:
    """Give the code of the refusal, empty if there is none; any other error is a fault."""
    try:
        function()
    except GntError as refusal:
        return refusal.code
    return ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["name", "|", "&", "="]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_sent_is_read_or_refused(value: Any) -> None:
    """No JSON makes the parser fail in another way than by a refusal."""
    assert code_of(lambda: parse_filter(value)) in {"", "parameter_error"}


@given(st.text(alphabet="ab()[]{}*+?|.^$\\0123<>=!:", max_size=12), st.text(alphabet="ab0", max_size=40))
def test_whatever_pattern_is_sent_ends(pattern: str, text: str) -> None:
    """A pattern that is let through comes to an end; hypothesis notices one that takes long."""
    assert code_of(lambda: Pattern("name", pattern).found_in(text)) in {"", "parameter_error"}


@pytest.mark.parametrize(
    "pattern", ["(a|b|ab)+c", "(a*)*b", "a*a*a*a*a*a*a*a*b", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)x", "(?=(a+)+b)a"]
)
def test_patterns_that_take_forever_are_not_tried(pattern: str) -> None:
    """Each of these would hold the daemon up for minutes, or for longer than it lives."""
    assert code_of(lambda: Pattern("name", pattern).found_in("a" * 200)) == "parameter_error"
