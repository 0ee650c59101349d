"""Values and filters as people write them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.cli import values
from gnt.cli.filters import BadFilter, glob_regex, looks_like_filter, parse_filter
from gnt.cli.tree import Pairs, lines


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1,b=2=3,c=", {"a": "1", "b": "2=3", "c": ""}),
        ("on,no_off,-gone", {"on": True, "off": False, "gone": None}),
        (r"a=1\,2,b=x\\,c=\\\,", {"a": "1,2", "b": "x\\", "c": "\\,"}),
        (r"path=C:\\x", {"path": "C:\\x"}),
    ],
)
def test_keys_and_values(text: str, found: dict[str, Any]) -> None:
    """Flags, removals, escapes."""
    assert values.key_values(text) == found


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(), max_size=4))
def test_every_value_can_be_written(found: dict[str, str]) -> None:
    """Whatever a value is, with its commas and backslashes escaped it comes back."""
    escaped = {key: value.replace("\\", "\\\\").replace(",", "\\,") for key, value in found.items()}
    assert values.key_values(",".join(f"{key}={value}" for key, value in escaped.items())) == found


@given(st.text())
def test_any_text_is_values_or_an_error(text: str) -> None:
    """No text makes the parsers fall over."""
    for parse in (values.key_values, values.ident_key_values, values.uid_pool, values.real, values.whole):
        with contextlib.suppress(ValueError):
            parse(text)


GOOD: list[tuple[Callable[[str], Any], str, Any]] = [
    (values.ident_key_values, "0:size=1", ("0", {"size": "1"})),
    (values.ident_key_values, "kvm", ("kvm", {})),
    (values.ident_key_values, "a:b=c:d", ("a", {"b": "c:d"})),
    (values.group_key_values, "no_x", ("x", None)),
    (values.yes_no, "YES", True),
    (values.yes_no, "False", False),
    (values.node_pair, "a", ("a", None)),
    (values.node_pair, "a:b", ("a", "b")),
    (values.uid_pool, "5,7-9", [(5, 5), (7, 9)]),
    (values.uid_pool, "", []),
    (values.comma_list, "", []),
    (values.ratio, "default", "default"),
    (values.ratio, "2", 2.0),
    (values.real, "1e3", 1000.0),
    (values.real, "-.5", -0.5),
    (values.spec_values, "memory-size=1g,cpu-count=2", {"memory-size": 1024, "cpu-count": 2}),
]


@pytest.mark.parametrize(("parse", "text", "found"), GOOD)
def test_good_values(parse: Callable[[str], Any], text: str, found: Any) -> None:
    """Each form is understood."""
    assert parse(text) == found


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (values.group_key_values, "no_x:a=1", "takes no values"),
        (values.ident_key_values, ":a=1", "does not begin with a name"),
        (values.node_pair, ":b", "is not NODE"),
        (values.yes_no, "ja", "neither yes nor no"),
        (values.whole, "1.5", "is not a whole number"),
        (values.whole, "9" * 30, "is too large"),
        (values.whole, "9" * 5000, "is not a whole number"),
        (values.real, "nan", "is not a number"),
        (values.real, "inf", "is not a number"),
        (values.word, "", "is empty"),
        (values.spec_values, "memory-size", "needs a value"),
        (values.bounds_specs, "min:memory-size=1", "min lacks"),
        (values.bounds_specs, "most:memory-size=1", "is not min:"),
    ],
)
def test_bad_values(parse: Callable[[str], Any], text: str, said: str) -> None:
    """What is wrong is said."""
    with pytest.raises(ValueError, match=said):
        parse(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("oper_state", ["?", "oper_state"]),
        ("not oper_state", ["!", ["?", "oper_state"]]),
        ("name == 'a'", ["=", "name", "a"]),
        ('name="a\\"b"', ["=", "name", 'a"b']),
        ("be/vcpus>=2", [">=", "be/vcpus", 2]),
        ("disk.size/0 != 10", ["!=", "disk.size/0", 10]),
        ("a < 1 and b > -2 or c <= 3", ["|", ["&", ["<", "a", 1], [">", "b", -2]], ["<=", "c", 3]]),
        ("a and (b or c)", ["&", ["?", "a"], ["|", ["?", "b"], ["?", "c"]]]),
        ("not (a or b)", ["!", ["|", ["?", "a"], ["?", "b"]]]),
        ("not not a", ["!", ["!", ["?", "a"]]]),
        ("'x' in tags", ["=[]", "tags", "x"]),
        ('"x" not in tags', ["!", ["=[]", "tags", "x"]]),
        ("3 in numbers", ["=[]", "numbers", 3]),
        ("name =~ m/^web/", ["=~", "name", "^web"]),
        ("name =~ #a/b#i", ["=~", "name", "(?i)a/b"]),
        ("name !~ |x|si", ["!", ["=~", "name", "(?is)x"]]),
        ("name =* 'web*'", ["=~", "name", r"^web.*(\..*)?$"]),
        ("name !* 'web?'", ["!", ["=~", "name", r"^web.(\..*)?$"]]),
        ("android == 1", ["=", "android", 1]),
        ("order and note", ["&", ["?", "order"], ["?", "note"]]),
    ],
)
def test_filters(text: str, found: list[Any]) -> None:
    """The grammar and the lists that it makes."""
    assert parse_filter(text) == found


@pytest.mark.parametrize(
    ("text", "said", "position"),
    [
        ("", "expected the name of a field", 0),
        ("name =", "expected a number or a quoted text", 6),
        ("name = 'a", "this quotation has no end", 7),
        ("name = a", "expected a number or a quoted text", 7),
        ("(a", "expected a closing parenthesis", 2),
        ("a b", "expected and, or, or the end of the filter", 2),
        ("a and", "expected the name of a field", 5),
        ("'x' tags", "expected in", 4),
        ("a =~ x", "expected a regular expression", 5),
        ("a =~ /x", "this regular expression has no end", 5),
        ("a =~ /(/", "not a regular expression", 6),
        ("a =~ /x/q", "flags of a regular expression", 9),
        ("a = 1x", "expected a number or a quoted text", 4),
        ("(" * 60 + "a" + ")" * 60, "nested more than", 51),
    ],
)
def test_bad_filters_are_marked(text: str, said: str, position: int) -> None:
    """What was expected, and where: the second line of the hint has a mark there."""
    with pytest.raises(BadFilter, match=said) as caught:
        parse_filter(text)
    assert caught.value.hint == f"{text}\n{' ' * position}^"


@given(st.text(alphabet="ab 01()='\"/~!*<>#|^mnotradi\\"))
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    """No text makes the parser fall over."""
    with contextlib.suppress(BadFilter):
        assert isinstance(parse_filter(text), list)


def test_globs_match_as_names_do() -> None:
    """A short host name stands for the full one."""
    import re

    regex = glob_regex("web*.example")
    assert re.search(regex, "web1.example.com")
    assert re.search(regex, "web1.example")
    assert not re.search(regex, "xweb1.example")
    assert looks_like_filter("a b")
    assert not looks_like_filter("web*")


def test_trees() -> None:
    """Mappings are sorted, pairs are not; empty ones show their key; lists in lists are nested."""
    tree = Pairs([("b", {"z": 1, "a": (1, "x")}), ("a", []), ("l", [["p", "q"], {"k": 1, "j": 2}, 3]), ("t", "a\nb")])
    assert list(lines(tree)) == [
        "b: ",
        "  a: [1, x]",
        "  z: 1",
        "a: ",
        "l: ",
        "  - - p",
        "    - q",
        "  - j: 2",
        "    k: 1",
        "  - 3",
        "t: a\\nb",
    ]
