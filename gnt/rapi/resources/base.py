"""What a resource is: a path, a method, who may use it, and what it does."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Final, Protocol

import msgspec

from gnt.daemon.runtime import Clock
from gnt.model.errors import GntError
from gnt.opcodes.base import Opcode
from gnt.rapi import body
from gnt.rapi.errors import bad_request, not_found
from gnt.rapi.keeper import Ask
from gnt.rapi.luxi import Master
from gnt.rapi.query_string import QueryString


class Access(Enum):
    """Who may use a resource."""

    PUBLIC = auto()
    """Anybody, always."""

    METRICS = auto()
    """Every user, and tokens for nothing else; anybody, if the administrator has opened reading to all."""

    OPEN = auto()
    """Every user; anybody, if the administrator has opened reading to all."""

    READ = auto()
    """Users with `read` or `write`."""

    WRITE = auto()
    """Users with `write`."""


class Call:
    """One request: what it asks for, and whom to ask. `body` is its JSON value, `msgspec.UNSET` without one.

    `ask` reads from the master; where the answer is kept, only what is new. `own` gives what the API knows of itself,
    `described` its OpenAPI description.
    """

    def __init__(
        self,
        *,
        master: Master,
        clock: Clock,
        names: Mapping[str, str],
        query: QueryString,
        body: Any = msgspec.UNSET,
        reason_name: str = "",
        ask: Ask | None = None,
        own: Callable[[], Own] | None = None,
        described: Callable[[], bytes] = bytes,
    ) -> None:
        self.master = master
        self.described = described
        self.own = own
        self.ask = master.call if ask is None else ask
        self.names = names
        self.query = query
        self.body = body
        self._clock = clock
        self._reason_name = reason_name

    def reason(self) -> list[list[Any]]:
        """Give the reason trail: what the user said, then which resource it came by."""
        moment = round(self._clock.seconds() * 1_000_000_000)
        said = self.query.text("reason")
        trail: list[list[Any]] = [] if said is None else [["gnt:user", said, moment]]
        return [*trail, [f"gnt:library:rlib2:{self._reason_name}", "", moment]]


Handler = Callable[[Call], Awaitable[Any]]
ANYTHING: Final[Mapping[str, Any]] = {}


class Action(Protocol):
    """What a resource does: gives a value for JSON, or raises `GntError`."""

    def __call__(self, call: Call) -> Awaitable[Any]:
        """Answer a request."""


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """A query parameter, and which parameter of the opcode it becomes. `form` is its JSON schema."""

    query: str
    parameter: str
    read: Callable[[QueryString, str], Any]
    form: Mapping[str, Any]
    must: bool = False

    def value(self, query: QueryString) -> Any:
        """Read it. Raises `HttpError` (400)."""
        return self.read(query, self.query)


FLAG: Final = {"type": "integer", "minimum": -999_999_999, "maximum": 999_999_999}
TEXT: Final = {"type": "string"}


def flag(query: str, parameter: str = "") -> Argument:
    """Make an argument that is yes or no."""
    return Argument(query=query, parameter=parameter or query, read=QueryString.flag, form=FLAG)


def text(query: str, parameter: str = "", *, default: str | None = None) -> Argument:
    """Make an argument that is a text."""
    return Argument(
        query=query, parameter=parameter or query, read=lambda found, name: found.text(name, default), form=TEXT
    )


def required(query: str, parameter: str = "") -> Argument:
    """Make an argument that must be there."""
    return Argument(query=query, parameter=parameter or query, read=QueryString.required, form=TEXT, must=True)


def words(query: str, parameter: str = "", *, must: bool = True) -> Argument:
    """Make an argument that is a comma separated list."""
    return Argument(
        query=query,
        parameter=parameter or query,
        read=lambda found, name: split(found.required(name)),
        form=TEXT,
        must=must,
    )


def several(query: str, parameter: str = "") -> Argument:
    """Make an argument that may be repeated."""
    form = {"type": "array", "items": TEXT}
    return Argument(query=query, parameter=parameter or query, read=QueryString.texts, form=form)


BULK: Final = flag("bulk")
LOCK: Final = msgspec.structs.replace(flag("lock"), form={"type": "integer", "enum": [0]})
"""For clients of old: queries take no locks."""
DRY_RUN: Final = flag("dry-run", "dry_run")


class Submit(msgspec.Struct, frozen=True, kw_only=True):
    """Submits a job of one opcode and gives its number.

    The opcode's parameters are those of the body (`body`: whether there may be one; names in it may be `renamed`,
    and `prepare` sees it first), of the path (`path`: what a part of it is to the opcode, with `[]` if the parameter is
    a list), of the query, and `fixed` ones. What comes from elsewhere may not be in the body.
    Where the body is a `word`, it stands for the parameters there.
    """

    opcode: type[Opcode]
    path: Mapping[str, str] = {}
    query: Sequence[Argument] = ()
    fixed: Mapping[str, Any] = {}
    body: bool = False
    renamed: Mapping[str, str] = {}
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    word: Mapping[str, Mapping[str, Any]] = {}

    def opcode_of(self, call: Call) -> Opcode:
        """Make the opcode that a request asks for. Raises `HttpError` (400)."""
        given = body.as_object(call.body) if self.body and not self.word else {}
        if self.prepare is not None:
            given = self.prepare(given)
        static = {**self.fixed, **(self._by_word(call.body) if self.word else {})}
        for part, parameter in self.path.items():
            value = call.names[part]
            if parameter.endswith("[]"):
                static[parameter.removesuffix("[]")] = [value]
            else:
                static[parameter] = int(value[:10]) if part.endswith("_index") else value
        for argument in self.query:
            static[argument.parameter] = argument.value(call.query)
        return body.to_opcode(self.opcode, given, static, self.renamed, call.reason())

    def _by_word(self, given: Any) -> Mapping[str, Any]:
        found = self.word.get(given) if isinstance(given, str) else None
        if found is None:
            raise bad_request(f"The body must be one of {', '.join(map(repr, self.word))}")
        return found

    async def __call__(self, call: Call) -> int:
        """Submit the job."""
        return await call.master.submit([self.opcode_of(call)])


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """Submits a job whose opcodes are made of a request in a way of their own, and gives its number.

    `opcodes`: those that it may be made of; `given` is the form of the body (a struct), if there may be one,
    but for members that may be more: `also` (JSON schemas).
    """

    opcodes: Sequence[type[Opcode]]
    make: Callable[[Call], Sequence[Opcode]]
    query: Sequence[Argument] = ()
    given: Any = None
    also: Mapping[str, Any] = {}

    async def __call__(self, call: Call) -> int:
        """Submit the job."""
        return await call.master.submit(self.make(call))


class Stream(msgspec.Struct, frozen=True):
    """The event stream: what answers goes on until the client leaves."""

    async def __call__(self, call: Call) -> None:
        """Say that this is no answer of a value."""
        del call
        raise AssertionError("a stream is not called")


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is not JSON."""

    content_type: str
    body: bytes


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What the API knows of itself: answered requests by method and status, connections, who listens to events."""

    requests: Mapping[tuple[str, int], int]
    connections: int
    listeners: int


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A row. `path` is that of the specification, with `[parts]` that vary; `called` is its name in reason trails.

    `needs`: opcodes that it submits, where `does` does not say so itself. `kept`: it asks the master once, by
    `Call.ask`, and its answer is kept until the master has a new one. `query`: what its query may say, `given`: the
    form of its body (a struct), `gives`: the JSON schema of its answer, where `does` does not say so itself.
    """

    path: str
    method: str
    access: Access
    does: Action
    needs: Sequence[type[Opcode]] = ()
    called: str = ""
    kept: bool = False
    query: Sequence[Argument] = ()
    given: Any = None
    gives: Mapping[str, Any] = ANYTHING

    @property
    def opcodes(self) -> Sequence[type[Opcode]]:
        """Give the opcodes that this needs the master to carry out."""
        if isinstance(self.does, Submit):
            return (self.does.opcode,)
        return self.does.opcodes if isinstance(self.does, Composed) else self.needs

    @property
    def reason_name(self) -> str:
        """Give the name for reason trails, such as `instances_name_shutdown`."""
        return self.called or reason_name(self.path)


def reason_name(path: str) -> str:
    """Make the name of a path: its fixed parts, and `name` for the first part that varies."""
    parts = path.removeprefix("/2").strip("/").split("/")
    varying = next((part for part in parts if part.startswith("[")), "")
    named = ["name" if part == varying else part for part in parts if part == varying or not part.startswith("[")]
    return "_".join(named).replace("-", "_")


def reads(path: str, does: Action, access: Access = Access.OPEN, **more: Any) -> Resource:
    """Make a GET row."""
    return Resource(path=path, method="GET", access=access, does=does, **more)


def shows(path: str, does: Action, access: Access = Access.OPEN, **more: Any) -> Resource:
    """Make a GET row whose answer is kept until the master has a new one."""
    return reads(path, does, access, kept=True, **more)


def changes(method: str, path: str, does: Action, **more: Any) -> Resource:
    """Make a row that needs `write`."""
    return Resource(path=path, method=method, access=Access.WRITE, does=does, **more)


def split(value: str) -> list[str]:
    """Split a comma separated list; empty items are dropped."""
    return [item for item in re.split(r"\s*,\s*", value.strip()) if item]


async def rows(call: Call, what: str, fields: Sequence[str], names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Ask for fields of the named objects, or of all; what has no value is None."""
    wanted = ["|", *(["=", "name", name] for name in names)] if names else None
    answer = await call.ask("Query", what, list(fields), wanted)
    try:
        return [
            {field: value if status == 0 else None for field, (status, value) in zip(fields, row, strict=True)}
            for row in answer["data"]
        ]
    except (TypeError, ValueError, KeyError):
        raise GntError("luxi_error", "the master answered Query with something else") from None


async def single(call: Call, what: str, fields: Sequence[str], name: str) -> dict[str, Any]:
    """Ask for fields of one object. Raises `HttpError` (404) if there is none."""
    _no_locks(call)
    found = await rows(call, what, fields, [name])
    if not found:
        raise not_found(f"There is no {what} named {name}")
    return found[0]


async def listed(
    call: Call,
    what: str,
    fields: Sequence[str],
    *,
    key: str = "id",
    complete: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: row,
) -> list[dict[str, Any]]:
    """Give all objects: with `bulk=1` their fields, else name and URI."""
    _no_locks(call)
    if call.query.flag("bulk"):
        return [complete(row) for row in await rows(call, what, fields)]
    found = await rows(call, what, ["name"])
    return [{key: row["name"], "uri": f"/2/{what}s/{row['name']}"} for row in found]


def _no_locks(call: Call) -> None:
    """Refuse `lock=1`: queries never wait for locks."""
    if call.query.flag("lock"):
        raise bad_request("Sync queries are not allowed")
