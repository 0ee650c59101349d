"""Peers that are turned away: told, but not for ever."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from gnt.wire.rejections import MOST, QUIET, Rejections, tls_reason

BAD = SSL.Error([("SSL routines", "", "certificate verify failed")])


def lines(clock: Clock, rejections: Rejections, *addresses: str, wait: float = 0.0) -> list[str]:
    """Have addresses be turned away; gives what the log says."""
    with capturedLogs() as events:
        for address in addresses:
            rejections.note(address, BAD)
            clock.advance(wait)
    return [formatEvent(event) for event in events]


def test_an_address_is_told_once_a_minute_with_the_number_of_tries() -> None:
    """The next address is told at once."""
    clock = Clock()
    rejections = Rejections(clock)
    first = "turned away 192.0.2.1: TLS: certificate verify failed"
    assert lines(clock, rejections, "192.0.2.1", "192.0.2.1", "192.0.2.2") == [first, first.replace("2.1", "2.2")]
    clock.advance(QUIET)
    assert lines(clock, rejections, "192.0.2.1") == [f"{first} (1 more since the last such line)"]


def test_what_is_no_trouble_with_tls_is_not_told() -> None:
    """A peer that hangs up is nobody's business."""
    with capturedLogs() as events:
        Rejections(Clock()).note("192.0.2.1", ConnectionDone())
    assert events == []


def test_a_crowd_of_addresses_does_not_fill_memory() -> None:
    """The oldest is forgotten."""
    clock = Clock()
    rejections = Rejections(clock)
    lines(clock, rejections, *(f"192.0.2.{number}" for number in range(MOST + 5)))
    assert len(rejections._seen) == MOST


def test_reasons_in_one_line() -> None:
    """Also where OpenSSL says nothing."""
    assert tls_reason(SSL.Error()) == "TLS: the handshake failed"
    assert tls_reason(SSL.Error([("", "", "")])) == "TLS: the handshake failed"
