"""Whatever is typed as a filter: a filter that the master can read, or one error that shows where it is wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gnt.cli.filters import BadFilter, make_filter
from gnt.masterd.queries.filters import parse_filter
from gnt.model.errors import GntError, Refused

words = st.sampled_from(
    [
        *("name", "status", "be/vcpus", "not", "and", "or", "in", "(", ")", "==", "=", "!=", "<", "<=", ">", ">="),
        *("=~", "!~", "=*", "!*", '"web1"', "'a\\'b'", "/x/i", "m#y#s", "|z|", "1", "-7", "web*", "\\", '"', "ä", "\n"),
    ]
)
texts = st.lists(words, max_size=10).map(" ".join) | st.text(max_size=30)


def read(arguments: list[str], *, force: bool = False) -> Any:
    """Give the filter, or the refusal."""
    try:
        return make_filter(arguments, force=force)
    except (BadFilter, Refused) as refused:
        return refused


def taken(found: Any) -> str:
    """Let the master read a filter, and give what it refuses; empty if nothing."""
    try:
        parse_filter(found)
    except GntError as refused:
        return refused.text
    return ""


@given(text=texts)
@example(text="(" * 500 + "name")
@example(text="not " * 200 + "name")
@example(text="name =~ /(/")
@example(text='"a" not in tags and (status == "running" or not oper_state)')
def test_any_text(text: str) -> None:
    """What can be read becomes a filter that the master takes as it is, or refuses for its depth alone."""
    found = read([text], force=True)
    if isinstance(found, GntError):
        assert found.text
    else:
        problem = taken(found)
        assert not problem or "levels deep" in problem


@given(arguments=st.lists(st.text(min_size=1, max_size=12), max_size=4))
def test_any_names(arguments: list[str]) -> None:
    """Names and globs likewise."""
    found = read(arguments)
    if isinstance(found, GntError):
        assert found.text
    else:
        assert (found is None) == (not arguments)
        assert taken(found) == ""
