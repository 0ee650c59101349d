"""Names, globs and filters on the command line, and the filter lists that they become: `spec/cli.md`, section 6."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from gnt.model.errors import WRONG_INPUT, GntError, Refused

Filter = list[Any]

_FILTER_SIGNS: Final = frozenset("()=/!~'\"\\<>")
_GLOB_SIGNS: Final = frozenset("*?")
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_/.]*", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}(?![A-Za-z0-9_.])", re.ASCII)
_SPACE: Final = re.compile(r"\s*")
_COMPARISON: Final = re.compile(r"==|=~|=\*|=|!=|!~|!\*|<=|<|>=|>")
_DELIMITERS: Final = "/#^|"
_MAX_DEPTH: Final = 50

Convert = Callable[[str], Any]


class BadFilter(GntError):
    """A filter that cannot be understood; the hint shows where."""

    luxi_class = "QueryFilterParseError"

    def __init__(self, text: str, source: str, position: int) -> None:
        line = source.replace("\n", " ").replace("\t", " ")
        super().__init__("query_filter_parse_error", text, hint=f"{line}\n{' ' * position}^")


def make_filter(
    arguments: Sequence[str], *, name_field: str = "name", convert: Convert = str, force: bool = False
) -> Filter | None:
    """Make the filter of a list command's arguments; None lets everything through.

    `convert` makes the value of a name (a job's number), raising `ValueError`. `force` says that the one argument is a
    filter. Raises `BadFilter`, `Refused`.
    """
    if force and len(arguments) != 1:
        raise Refused(WRONG_INPUT, "-F takes exactly one argument: the filter")
    if not arguments:
        return None
    if force or (len(arguments) == 1 and looks_like_filter(arguments[0])):
        return parse_filter(arguments[0])
    return ["|", *(_name_filter(word, name_field, convert) for word in arguments)]


def looks_like_filter(text: str) -> bool:
    """Say whether an argument is a filter, not a name: it has a sign that no name has."""
    return any(sign in _FILTER_SIGNS or sign.isspace() for sign in text)


def _name_filter(word: str, name_field: str, convert: Convert) -> Filter:
    if _GLOB_SIGNS & set(word):
        return ["=~", name_field, glob_regex(word)]
    try:
        return ["=", name_field, convert(word)]
    except ValueError as problem:
        raise Refused(WRONG_INPUT, str(problem)) from None


def glob_regex(glob: str) -> str:
    """Give the regular expression of a glob: anchored, and a short host name matches its full name too."""
    parts = {"*": ".*", "?": "."}
    return "^" + "".join(parts.get(sign) or re.escape(sign) for sign in glob) + r"(\..*)?$"


def parse_filter(text: str) -> Filter:
    """Parse the text of a filter; raises `BadFilter` that marks the place."""
    parser = _Parser(text)
    found = parser.any_of(0)
    parser.expect_end()
    return found


class _Parser:
    """Parses by descent: or, and, not, parentheses, conditions."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def fail(self, problem: str) -> NoReturn:
        """Refuse the filter at the place reached."""
        raise BadFilter(problem, self._text, self._at)

    def any_of(self, depth: int) -> Filter:
        """Parse conditions with `or` between them."""
        return self._chain("or", "|", lambda: self._all_of(depth))

    def _all_of(self, depth: int) -> Filter:
        return self._chain("and", "&", lambda: self._not(depth))

    def _chain(self, keyword: str, operator: str, part: Callable[[], Filter]) -> Filter:
        parts = [part()]
        while self._keyword(keyword):
            parts.append(part())
        return parts[0] if len(parts) == 1 else [operator, *parts]

    def _not(self, depth: int) -> Filter:
        if depth > _MAX_DEPTH:
            self.fail(f"nested more than {_MAX_DEPTH} levels deep")
        if self._keyword("not"):
            return ["!", self._not(depth + 1)]
        if self._sign("("):
            inner = self.any_of(depth + 1)
            if not self._sign(")"):
                self.fail("expected a closing parenthesis")
            return inner
        return self._condition()

    def expect_end(self) -> None:
        """Refuse what follows a complete filter."""
        self._skip()
        if self._at < len(self._text):
            self.fail("expected and, or, or the end of the filter")

    def _condition(self) -> Filter:
        self._skip()
        if self._text[self._at : self._at + 1] in {"'", '"'} or _NUMBER.match(self._text, self._at):
            return self._contained()
        field = self._field()
        self._skip()
        operator = _COMPARISON.match(self._text, self._at)
        if operator is None:
            return ["?", field]
        self._at = operator.end()
        sign = operator.group()
        if sign in {"=~", "!~"}:
            return _negated(["=~", field, self._regex()], sign == "!~")
        if sign in {"=*", "!*"}:
            return _negated(["=~", field, glob_regex(self._quoted())], sign == "!*")
        return ["=" if sign == "==" else sign, field, self._value()]

    def _contained(self) -> Filter:
        value = self._value()
        negated = self._keyword("not")
        if not self._keyword("in"):
            self.fail("expected in")
        return _negated(["=[]", self._field(), value], negated)

    def _field(self) -> str:
        self._skip()
        match = _FIELD.match(self._text, self._at)
        if match is None:
            self.fail("expected the name of a field")
        self._at = match.end()
        return match.group()

    def _value(self) -> int | str:
        self._skip()
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            return self._quoted()
        self._at = number.end()
        return int(number.group())

    def _quoted(self) -> str:  # noqa: RET503  (fail does not return)
        self._skip()
        quote = self._text[self._at : self._at + 1]
        if quote not in {"'", '"'} or not quote:
            self.fail("expected a number or a quoted text")
        begin = self._at
        found: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            sign = self._text[self._at]
            self._at += 1
            if sign == quote:
                return "".join(found)
            if sign == "\\" and self._at < len(self._text):
                sign = self._text[self._at]
                self._at += 1
            found.append(sign)
        self._at = begin
        self.fail("this quotation has no end")

    def _regex(self) -> str:
        self._skip()
        if self._text[self._at : self._at + 1] == "m":
            self._at += 1
        delimiter = self._text[self._at : self._at + 1]
        if not delimiter or delimiter not in _DELIMITERS:
            self.fail("expected a regular expression between / / or # # or ^ ^ or | |")
        end = self._text.find(delimiter, self._at + 1)
        if end < 0:
            self.fail("this regular expression has no end")
        begin, self._at = self._at, end + 1
        flags = re.compile(r"[A-Za-z]*").match(self._text, self._at)
        letters = flags.group() if flags else ""
        self._at += len(letters)
        if set(letters) - {"i", "s"}:
            self.fail("flags of a regular expression are i and s")
        regex = self._text[begin + 1 : end]
        try:
            re.compile(regex)
        except re.error as problem:
            self._at = begin + 1 + (problem.pos or 0)
            self.fail(f"not a regular expression: {problem.msg}")
        return f"(?{''.join(sorted(set(letters)))}){regex}" if letters else regex

    def _keyword(self, word: str) -> bool:
        """Take a word if it comes next and is whole."""
        self._skip()
        end = self._at + len(word)
        if not self._text.startswith(word, self._at):
            return False
        following = self._text[end : end + 1]
        if following and (following.isalnum() or following in "_/."):
            return False
        self._at = end
        return True

    def _sign(self, sign: str) -> bool:
        self._skip()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at


def _negated(condition: Filter, negate: bool) -> Filter:
    return ["!", condition] if negate else condition


def every(*filters: Filter | None) -> Filter | None:
    """Give the filter that all of these make together."""
    given = [one for one in filters if one is not None]
    return None if not given else given[0] if len(given) == 1 else ["&", *given]


def any_value(field: str, values: Sequence[Any]) -> Filter:
    """Give the filter for a field that has one of these values."""
    return ["|", *(["=", field, value] for value in values)]
