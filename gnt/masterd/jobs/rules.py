"""Which jobs may run: rules set by the administrator, and limits that jobs bring with them. `spec/jobs.md`, section 7.

Rules are tried by priority, then watermark, then UUID; the first that matches and does not say CONTINUE decides. A
reason `rate-limit:N:LABEL` in the trail of an opcode lets at most N jobs with the same N and LABEL run at once.
Pure: what becomes of a verdict is the business of queue and schedule.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gnt.masterd.jobs.job import Job
from gnt.masterd.queries.filters import ORDER, Both, Either, Filter, Leaf, Operator, Unless, leaves, parse_filter
from gnt.masterd.queries.patterns import Pattern
from gnt.model.errors import WRONG_INPUT, GntError, Refused
from gnt.model.names import looks_like_uuid
from gnt.model.objects import JobFilter
from gnt.opcodes.registry import ALL

ACCEPT: Final = "ACCEPT"
PAUSE: Final = "PAUSE"
REJECT: Final = "REJECT"
CONTINUE: Final = "CONTINUE"
RATE_LIMIT: Final = "RATE_LIMIT"
ACTIONS: Final = (ACCEPT, PAUSE, REJECT, CONTINUE)
ACTION_HINT: Final = f"{', '.join(ACTIONS)} or {RATE_LIMIT} N"

KINDS: Final = ("jobid", "opcode", "reason")
WATERMARK: Final = "watermark"
REASON_FIELDS: Final = ("source", "reason", "timestamp")

_LIMIT_TEXT: Final = re.compile(r"rate-limit:([0-9]{1,9}):(.+)", re.DOTALL)
_LIMIT_SIGN: Final = b"rate-limit:"
_USER: Final = "gnt:user"
_MISSING: Final = object()


class Limit(NamedTuple):
    """At most `most` jobs that have this key run at once; `text` says whose limit it is, for people."""

    key: str
    most: int
    text: str


class Verdict(NamedTuple):
    """What the rules say of a job: the UUID of the rule that rejects or pauses it, and the limits it is under.

    `why` is the reason that the administrator gave for that rule.
    """

    rejected: str = ""
    paused: str = ""
    limits: tuple[Limit, ...] = ()
    why: str = ""

    @property
    def reason(self) -> str:
        """Give the rule's reason as a text continues with it: ` (no tests)`, or nothing."""
        return f" ({self.why})" if self.why else ""


FREE: Final = Verdict()


class Facts(NamedTuple):
    """What a rule may ask of a job: its number, its opcodes as objects, all elements of their reason trails."""

    number: int
    ops: Sequence[dict[str, Any]]
    reasons: Sequence[dict[str, Any]]


Predicate = Callable[[Facts], bool]


class _Rule(NamedTuple):
    uuid: str
    action: str
    most: int
    predicates: tuple[Predicate, ...]
    why: str = ""

    def matches(self, facts: Facts) -> bool:
        return all(holds(facts) for holds in self.predicates)


class Rules:
    """All rules, in their order. One that cannot be read (of another release) is passed over."""

    def __init__(self, filters: Iterable[JobFilter] = ()) -> None:
        self._rules: list[_Rule] = []
        for each in sorted(filters, key=lambda rule: (rule.priority, rule.watermark, rule.uuid)):
            try:
                predicates = tuple(_predicate(kind, tree, each.watermark) for kind, tree in each.predicates)
                action, most = _action(each.action)
            except (GntError, ValueError):
                continue
            if action != CONTINUE:
                self._rules.append(_Rule(each.uuid, action, most, predicates, _reason(each)))

    def judge(self, job: Job) -> Verdict:
        """Say what becomes of a job."""
        inputs = [bytes(op.input) for op in job.ops]
        limited = any(_LIMIT_SIGN in data for data in inputs)
        if not self._rules and not limited:
            return FREE
        facts = _facts(job.id, inputs)
        limits = _own_limits(facts) if limited else ()
        for rule in self._rules:
            if not rule.matches(facts):
                continue
            if rule.action == REJECT:
                return Verdict(rejected=rule.uuid, why=rule.why)
            if rule.action == PAUSE:
                return Verdict(paused=rule.uuid, why=rule.why)
            if rule.action == RATE_LIMIT:
                limits = (Limit(rule.uuid, rule.most, f"rule {rule.uuid}"), *limits)
            break
        return Verdict(limits=limits) if limits else FREE


def _reason(rule: JobFilter) -> str:
    """Give what the administrator said about a rule."""
    return next((text for source, text, _ in rule.reason_trail if source == _USER), "")


def _facts(number: int, inputs: Sequence[bytes]) -> Facts:
    ops: list[dict[str, Any]] = []
    for data in inputs:
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            continue
        if isinstance(value, dict):
            ops.append(value)
    trails = [element for op in ops for element in op.get("reason") or () if isinstance(element, list)]
    reasons = [dict(zip(REASON_FIELDS, element, strict=True)) for element in trails if len(element) == 3]
    return Facts(number, ops, reasons)


def _own_limits(facts: Facts) -> tuple[Limit, ...]:
    found: dict[str, Limit] = {}
    for element in facts.reasons:
        match = _LIMIT_TEXT.fullmatch(str(element["reason"]))
        if match is not None and int(match[1]) > 0:
            most = int(match[1])
            found[match[0]] = Limit(f"rate-limit:{most}:{match[2]}", most, f"rate limit {match[2]}")
    return tuple(found.values())


# Predicates


def _predicate(kind: str, tree: Any, watermark: int) -> Predicate:
    """Make the function of a predicate. Raises `GntError` (`parameter_error`, `wrong_input`)."""
    if kind not in KINDS:
        raise Refused(WRONG_INPUT, f"predicate {str(kind)[:40]!r} is not known", hint=f"there are: {', '.join(KINDS)}")
    parsed = parse_filter(tree)
    if parsed is None:
        return lambda _facts: True
    match kind:
        case "jobid":
            _only_fields(kind, parsed, ("id",))
            holds = _tree(parsed, lambda leaf: _number_test(leaf, watermark))
            return lambda facts: holds({"id": facts.number})
        case "opcode":
            holds = _tree(parsed, _any_test)
            return lambda facts: any(holds(op) for op in facts.ops)
        case _:
            _only_fields(kind, parsed, REASON_FIELDS)
            holds = _tree(parsed, _comparison)
            return lambda facts: any(holds(element) for element in facts.reasons)


def _only_fields(kind: str, tree: Filter, fields: Sequence[str]) -> None:
    for leaf in leaves(tree):
        if leaf.field not in fields:
            raise Refused(WRONG_INPUT, f"predicate {kind} has no field {leaf.field[:40]!r}", hint=", ".join(fields))


Test = Callable[[Any], bool]
Getter = Callable[[dict[str, Any]], Any]


def _tree(tree: Filter, test_of: Callable[[Leaf], Test]) -> Callable[[dict[str, Any]], bool]:
    match tree:
        case Leaf():
            test, path = test_of(tree), tree.field.split(".")
            return lambda values: (found := _found(values, path)) is not _MISSING and test(found)
        case Unless(part):
            inner = _tree(part, test_of)
            return lambda values: not inner(values)
        case Both(parts):
            every = [_tree(part, test_of) for part in parts]
            return lambda values: all(each(values) for each in every)
        case Either(parts):
            return _either([_tree(part, test_of) for part in parts])


def _either(some: Sequence[Callable[[dict[str, Any]], bool]]) -> Callable[[dict[str, Any]], bool]:
    return lambda values: any(each(values) for each in some)


def _found(values: Any, path: Sequence[str]) -> Any:
    """Give a value, or one within it by names with points between them; numbers count the items of lists."""
    for name in path:
        if isinstance(values, dict) and name in values:
            values = values[name]
        elif isinstance(values, list) and name.isdecimal() and int(name) < len(values):
            values = values[int(name)]
        else:
            return _MISSING
    return values


def _number_test(leaf: Leaf, watermark: int) -> Test:
    wanted = leaf.value
    if wanted == WATERMARK:
        wanted = watermark
    elif isinstance(wanted, str) and wanted.isdecimal():
        wanted = int(wanted)
    return _comparison(Leaf(leaf.operator, leaf.field, wanted))


def _comparison(leaf: Leaf) -> Test:
    """Compare values of one type; whatever is no comparison does not hold."""
    wanted, how = leaf.value, leaf.operator
    if how is Operator.EQUAL:
        return lambda value: _alike(value, wanted) and value == wanted
    if how is Operator.NOT_EQUAL:
        return lambda value: not (_alike(value, wanted) and value == wanted)
    if how not in ORDER:
        return lambda _value: False
    compare: Callable[[Any, Any], bool] = {
        Operator.LESS: lambda value, other: value < other,
        Operator.LESS_OR_EQUAL: lambda value, other: value <= other,
        Operator.GREATER: lambda value, other: value > other,
        Operator.GREATER_OR_EQUAL: lambda value, other: value >= other,
    }[how]
    return lambda value: _alike(value, wanted) and compare(value, wanted)


def _alike(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return isinstance(value, bool) and isinstance(wanted, bool)
    if isinstance(wanted, str):
        return isinstance(value, str)
    return isinstance(value, int | float)


def _any_test(leaf: Leaf) -> Test:
    if leaf.operator is Operator.TRUE:
        return bool
    if leaf.operator is Operator.CONTAINS:
        return lambda value: isinstance(value, list) and leaf.value in value
    if leaf.operator is not Operator.MATCHES:
        return _comparison(leaf)
    pattern = Pattern(leaf.field, str(leaf.value))

    def matches(value: Any) -> bool:
        try:
            return isinstance(value, str) and pattern.found_in(value)
        except GntError:
            return False  # it would take too long to say

    return matches


# Rules as they are set


def make_rule(
    uuid: str, *, watermark: int, priority: Any, predicates: Any, action: Any, reason: Sequence[Sequence[Any]]
) -> JobFilter:
    """Make a rule of what a client gives. Raises `Refused` or `GntError` (`parameter_error`) naming what is wrong."""
    if not looks_like_uuid(uuid):
        raise Refused(WRONG_INPUT, f"{uuid[:60]!r} is no UUID", hint="gnt-filter list shows those of the rules")
    if isinstance(priority, bool) or not isinstance(priority, int) or priority < 0:
        raise Refused(WRONG_INPUT, f"priority: {str(priority)[:40]} is no number from 0 on")
    if not isinstance(predicates, list):
        raise Refused(WRONG_INPUT, "predicates: they must be a list", hint='[["jobid", [">", "id", "watermark"]]]')
    for place, each in enumerate(predicates):
        if not isinstance(each, list) or len(each) != 2 or not isinstance(each[0], str):
            raise Refused(WRONG_INPUT, f"predicates[{place}]: must be a kind and a filter", hint='["jobid", FILTER]')
        _predicate(each[0], each[1], watermark)
        if each[0] == "opcode":
            _refuse_never(place, each[1])
    try:
        name, most = _action(action)
    except ValueError:
        raise Refused(WRONG_INPUT, f"action: {str(action)[:60]} is none", hint=ACTION_HINT) from None
    for element in reason:
        if len(element) != 3:
            raise Refused(WRONG_INPUT, "reason: each element must be a source, a text and a time")
    return JobFilter(
        uuid=uuid,
        watermark=watermark,
        priority=priority,
        predicates=tuple(tuple(each) for each in predicates),
        action=(RATE_LIMIT, most) if name == RATE_LIMIT else name,
        reason_trail=tuple((str(source), str(text), int(when)) for source, text, when in reason),
    )


def _refuse_never(place: int, tree: Any) -> None:
    """Refuse a predicate about what no opcode has: it would never hold, and nobody would be told."""
    parsed = parse_filter(tree)
    names = {"OP_ID", *(name for opcode in ALL.values() for name in opcode.__struct_fields__)}
    for leaf in leaves(parsed) if parsed is not None else ():
        field = leaf.field.partition(".")[0]
        if field not in names:
            raise Refused(
                WRONG_INPUT, f"predicates[{place}]: no opcode has a parameter {field[:40]!r}", hint=_near(field, names)
            )
        if field == "OP_ID" and leaf.operator is Operator.EQUAL and leaf.value not in ALL:
            value = str(leaf.value)
            raise Refused(WRONG_INPUT, f"predicates[{place}]: no opcode {value[:60]!r}", hint=_near(value, ALL))


def _near(word: str, words: Iterable[str]) -> str:
    found = difflib.get_close_matches(word[:80], list(words), n=1)
    return f"did you mean {found[0]}?" if found else ""


def _action(action: Any) -> tuple[str, int]:
    """Give an action and the number of a rate limit (else 0). Raises `ValueError`."""
    if isinstance(action, str) and action in ACTIONS:
        return action, 0
    if isinstance(action, list | tuple) and len(action) == 2 and action[0] == RATE_LIMIT:
        most = action[1]
        if isinstance(most, int) and not isinstance(most, bool) and most > 0:
            return RATE_LIMIT, most
    raise ValueError
