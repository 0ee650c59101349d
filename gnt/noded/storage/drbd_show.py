"""What `drbdsetup show` says of a mirror's setup: which volumes, which addresses. A pure reading of its text.

The text holds the peers' secret: it is read, never logged, and nothing of it is kept but what is named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gnt.model.errors import NodeFailure

Address: TypeAlias = tuple[str, str, int]
"""Family (`ipv4`, `ipv6`), host and TCP port."""

Ends: TypeAlias = tuple[Address, Address]
"""Both ends of a connection: this node's, the peer's."""

_TOKEN: Final = re.compile(
    r"""\s+ | \#[^\n]* | (?P<sign>[{};]) | "(?P<quoted>[^"]*)" | (?P<word>[^\s{};"\#]+)""", re.VERBOSE
)
_NOT_SAID: Final = frozenset({"_is_default"})


@dataclass(frozen=True)
class Setup:
    """How a minor is set up. None where it has no local volumes, or no connection to seek.

    `dual` says whether both sides may write at once. The secret is not kept.
    """

    resource: str
    minor: int
    data: str | None = None
    meta: str | None = None
    ends: Ends | None = None
    dual: bool = False

    @property
    def has_disk(self) -> bool:
        """Say whether it has local volumes."""
        return self.data is not None


@dataclass
class _Section:
    """Statements (first word, further words) and sections (its words, what is in it) in braces."""

    statements: list[tuple[str, ...]] = field(default_factory=list)
    sections: list[tuple[tuple[str, ...], _Section]] = field(default_factory=list)

    def one(self, name: str) -> tuple[str, ...]:
        """Give the words after the first statement of a name; none if there is none."""
        return next((words[1:] for words in self.statements if words[0] == name), ())

    def named(self, name: str) -> list[tuple[tuple[str, ...], _Section]]:
        """Give the sections that begin with a word."""
        return [(words, section) for words, section in self.sections if words[:1] == (name,)]


def parse_show(text: str) -> list[Setup]:
    """Read all resources; raises `NodeFailure` `storage_error` for what is not such a text."""
    top, rest = _section(iter(_tokens(text)), closed=False)
    if rest:
        raise _unreadable("more than it should")
    return [setup for words, resource in top.named("resource") for setup in _setups(words, resource)]


def _setups(words: tuple[str, ...], resource: _Section) -> Iterator[Setup]:
    here = [section for _, section in resource.named("_this_host")]
    there = [section for _, section in resource.named("_remote_host")]
    dual = any(net.one("allow-two-primaries") == ("yes",) for _, net in resource.named("net"))
    for host in here:
        local, remote = _address(host.one("address")), _address(there[0].one("address")) if there else None
        for _, volume in host.named("volume"):
            yield Setup(
                resource=words[1] if len(words) > 1 else "",
                minor=_minor(volume.one("device")),
                data=_path(volume.one("disk")),
                meta=_path(volume.one("meta-disk")),
                ends=(local, remote) if local is not None and remote is not None else None,
                dual=dual,
            )


def _minor(words: tuple[str, ...]) -> int:
    if len(words) < 2 or words[0] != "minor" or not words[1].isdecimal():
        raise _unreadable("a volume without its minor")
    return int(words[1])


def _path(words: tuple[str, ...]) -> str | None:
    return words[0] if words else None


def _address(words: tuple[str, ...]) -> Address | None:
    """Read `ipv4 10.0.0.1:11000` or `ipv6 [fe80::1]:11000`."""
    if not words:
        return None
    host, colon, port = words[-1].rpartition(":")
    if len(words) != 2 or not colon or not port.isdecimal():
        raise _unreadable("an address that is none")
    return words[0], host.strip("[]"), int(port)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Give (kind, text) piece by piece: `sign` or `word`."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise _unreadable("a quotation that does not end")
        place = found.end()
        if found["sign"] is not None:
            yield "sign", found["sign"]
        elif found["quoted"] is not None:
            yield "word", found["quoted"]
        elif found["word"] is not None and found["word"] not in _NOT_SAID:
            yield "word", found["word"]


def _section(tokens: Any, *, closed: bool) -> tuple[_Section, bool]:
    """Read to the end of a section; the second value says whether a brace closed what none had opened."""
    section = _Section()
    words: list[str] = []
    for kind, text in tokens:
        if kind == "word":
            words.append(text)
        elif text == "{":
            inner, _ = _section(tokens, closed=True)
            section.sections.append((tuple(words), inner))
            words = []
        elif text == ";":
            if words:
                section.statements.append(tuple(words))
            words = []
        else:
            return section, not closed
    if closed or words:
        raise _unreadable("a section that does not end")
    return section, False


def _unreadable(what: str) -> NodeFailure:
    return NodeFailure("storage_error", f"drbdsetup show gave an answer that cannot be read: {what}")
