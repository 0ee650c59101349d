"""What a filter means for rows: a tree becomes one function, made once for each query.

A cell without data passes every question about it: what is not known is not left out.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from gnt.masterd.queries.fields import NORMAL, Field, FieldKind, Fields, Getter
from gnt.masterd.queries.filters import ORDER, Both, Either, Filter, Leaf, Operator, Unless, bad_filter
from gnt.masterd.queries.patterns import Pattern
from gnt.masterd.queries.view import View

Predicate = Callable[[Any], bool]
Test = Callable[[Any], bool]

_COMPARE: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}
_NUMBERS: Final = frozenset({FieldKind.NUMBER, FieldKind.FLOAT, FieldKind.UNIT, FieldKind.TIMESTAMP})


def find_field(fields: Fields, name: str) -> Field:
    """Give the field that a filter names. Raises `GntError` (`parameter_error`)."""
    found = fields.find(name)
    if found is None:
        near = get_close_matches(name[:80], fields.by_name, n=3)
        raise bad_filter(f"Can't find field named '{name[:80]}'", f"did you mean {' or '.join(near)}?" if near else "")
    return found


def compile_filter(tree: Filter, fields: Fields, view: View) -> Predicate:
    """Make the function that says whether an object passes. Raises `GntError` (`parameter_error`).

    So may the function, where only a value shows that it cannot be compared.
    """
    match tree:
        case Leaf():
            field = find_field(fields, tree.field)
            return _passes(field.bind(view), field_test(field, tree), encoded=field.encoded)
        case Unless(part):
            inner = compile_filter(part, fields, view)
            return lambda obj: not inner(obj)
        case Both(parts):
            every = [compile_filter(part, fields, view) for part in parts]
            return lambda obj: all(each(obj) for each in every)
        case Either(parts):
            some = _one_of(parts, fields, view)
            return lambda obj: any(each(obj) for each in some)


def _one_of(parts: tuple[Filter, ...], fields: Fields, view: View) -> list[Predicate]:
    return [compile_filter(part, fields, view) for part in parts]


def _passes(get: Getter, test: Test, *, encoded: bool) -> Predicate:
    def passes(obj: Any) -> bool:
        status, value = get(obj)
        if status != NORMAL:
            return True
        return test(msgspec.json.decode(msgspec.json.encode(value)) if encoded else value)

    return passes


def field_test(field: Field, leaf: Leaf) -> Test:
    """Make the function that says whether a value of a field passes. Raises `GntError` (`parameter_error`)."""
    wanted = leaf.value
    if leaf.operator is Operator.TRUE:
        return _truth(field)
    if leaf.operator is Operator.MATCHES:
        return _matches(field, wanted)
    if leaf.operator is Operator.CONTAINS:
        return _contains(field, wanted)
    if field.pair:
        return _by_seconds(leaf.operator, _number(field, wanted))
    if field.kind is FieldKind.BOOL:
        return _boolean(field, leaf.operator, wanted)
    if field.kind in _NUMBERS:
        return _against(_COMPARE[leaf.operator], _number(field, wanted))
    if field.kind is FieldKind.TEXT:
        if not isinstance(wanted, str):
            raise _mismatch(field, "text", wanted)
        return _host(leaf.operator, wanted) if field.hostname else _against(_COMPARE[leaf.operator], wanted)
    return _any_value(field, leaf.operator, wanted)


def _mismatch(field: Field, kind: str, wanted: Any) -> Exception:
    what = "a text" if isinstance(wanted, str) else "true or false" if isinstance(wanted, bool) else "a number"
    return bad_filter(f"filter on {field.name}: it is a {kind} and cannot be compared with {what}")


def _number(field: Field, wanted: Any) -> int | float:
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        raise _mismatch(field, "number", wanted)
    return wanted


def _truth(field: Field) -> Test:
    if field.kind in (FieldKind.BOOL, FieldKind.OTHER) or field.kind in _NUMBERS:
        return bool
    raise bad_filter(f"filter on {field.name}: it is a text, which is neither true nor false")


def _boolean(field: Field, how: Operator, wanted: Any) -> Test:
    if not isinstance(wanted, bool) or how in ORDER:
        raise bad_filter(f"filter on {field.name}: it is true or false and is asked for by its name alone")
    return _against(_COMPARE[how], wanted)


def _against(compare: Callable[[Any, Any], bool], wanted: Any) -> Test:
    # A text of the configuration may be missing after all (a group that is not there): it equals nothing.
    order = compare not in (operator.eq, operator.ne)
    if order:
        return lambda value: value is not None and compare(value, wanted)
    return lambda value: compare(value, wanted)


def _host(how: Operator, wanted: str) -> Test:
    """Compare host names: equal means that whole first parts are, in upper or lower case."""
    lowered = wanted.lower()
    beginning = f"{lowered}."

    def same(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        name = value.lower()
        return name == lowered or name.startswith(beginning)

    if how is Operator.EQUAL:
        return same
    if how is Operator.NOT_EQUAL:
        return lambda value: not same(value)
    return _against(_COMPARE[how], wanted)


def _matches(field: Field, wanted: Any) -> Test:
    if not isinstance(wanted, str):
        raise bad_filter(f"filter on {field.name}: a regular expression is a text")
    if field.kind not in (FieldKind.TEXT, FieldKind.OTHER):
        raise bad_filter(f"filter on {field.name}: only texts are matched by regular expressions")
    pattern = Pattern(field.name, wanted)

    def test(value: Any) -> bool:
        if value is None:
            return False
        if not isinstance(value, str):
            raise bad_filter(f"filter on {field.name}: only texts are matched by regular expressions")
        return pattern.found_in(value)

    return test


def _contains(field: Field, wanted: Any) -> Test:
    if field.kind is not FieldKind.OTHER:
        raise bad_filter(f"filter on {field.name}: it is not a list")

    def test(value: Any) -> bool:
        if value is None:
            return False
        if not isinstance(value, list | tuple):
            raise bad_filter(f"filter on {field.name}: it is not a list")
        return wanted in value

    return test


def _by_seconds(how: Operator, wanted: float) -> Test:
    """Compare a time that is seconds and microseconds by its seconds alone."""
    compare, seconds = _COMPARE[how], math.floor(wanted)
    return lambda value: compare(value[0], seconds)


def _any_value(field: Field, how: Operator, wanted: Any) -> Test:
    """Compare where only the value says whether it is a text, a number or something else."""
    compare, is_text = _COMPARE[how], isinstance(wanted, str)

    def test(value: Any) -> bool:
        if value is None:
            return how is Operator.NOT_EQUAL
        if isinstance(value, bool) or isinstance(wanted, bool):
            if type(value) is not type(wanted) or how in ORDER:
                raise _mismatch(field, "value of another type", wanted)
        elif not isinstance(value, str if is_text else int | float):
            raise _mismatch(field, "value of another type", wanted)
        return compare(value, wanted)

    return test
