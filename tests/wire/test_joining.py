"""Tokens as people carry them, and messages that both sides seal with them."""

from __future__ import annotations

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model.errors import Refused
from gnt.wire.joining import (
    MASTER,
    NODE,
    JoinEnd,
    JoinRequest,
    Refusal,
    Seal,
    Sealed,
    Token,
    decode,
    encode_refusal,
    parse_token,
)

TOKEN = Token("10.1.2.3", 1816, "5a" * 32, b"secret" + b"\0" * 14)
SECRET = b"s" * 20
CHANNEL = b"c" * 32
HELLO = JoinRequest(protocol=1, name="node2", address="10.0.0.2", request="PEM", release="1")

tokens = st.builds(
    Token,
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
    st.integers(0, 65535),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.binary(min_size=20, max_size=20),
)


@given(tokens)
def test_a_token_survives_being_carried(token: Token) -> None:
    """A token comes back from its text, also in lower case, wrapped, indented, without hyphens."""
    text = token.text()
    assert parse_token(text) == token
    wrapped = "\r\n  ".join(text.lower().replace("-", " ").split())
    assert parse_token(f"\t{wrapped}\n\n") == token


@given(tokens, st.data())
def test_a_mistake_in_a_token_is_noticed(token: Token, data: st.DataObject) -> None:
    """A wrong letter, one left out or one too many is refused before anybody is asked."""
    text = token.text().replace("-", "")
    # The last letter has bits that mean nothing.
    at = data.draw(st.integers(0, len(text) - 2))
    wrong = data.draw(st.sampled_from(sorted(set(string.ascii_uppercase + "234567") - {text[at]})))
    for broken in (text[:at] + wrong + text[at + 1 :], text[:at] + text[at + 1 :], text[:at] + wrong + text[at:]):
        with pytest.raises(Refused):
            parse_token(broken)


@pytest.mark.parametrize("text", ["", " \n", "hello", "A" * 8, "ä" * 20, "A" * 5000, "\0" * 10, "0189"])
def test_what_is_no_token_is_refused_in_one_line_without_it(text: str) -> None:
    """Any other text is refused, and the refusal does not repeat what may be a secret."""
    with pytest.raises(Refused) as refused:
        parse_token(text)
    assert "\n" not in refused.value.text
    assert len(refused.value.text) < 100
    assert not text.strip() or text not in refused.value.text


def test_a_token_of_another_release_says_so() -> None:
    """A token with another protocol number names the cause."""
    import base64

    from gnt.wire.joining import _check

    content = bytes([2 << 4 | 4]) + bytes(58)
    text = base64.b32encode(content + _check(content)).decode()
    with pytest.raises(Refused, match="another release"):
        parse_token(text)


def test_secrets_do_not_show() -> None:
    """Neither a token nor a seal shows its secret when it is printed."""
    assert "secret" not in repr(TOKEN)
    assert "redacted" in repr(TOKEN)
    assert "sss" not in repr(Seal(SECRET, CHANNEL))


def _sealed(secret: bytes = SECRET, channel: bytes = CHANNEL, speaker: bytes = NODE) -> Sealed:
    return decode(Seal(secret, channel).close(speaker, HELLO), Sealed)


def test_both_sides_with_the_same_token_understand_each_other() -> None:
    """Request, answer and end pass when secret, connection and order are the same."""
    here, there = Seal(SECRET, CHANNEL), Seal(SECRET, CHANNEL)
    assert there.open(NODE, decode(here.close(NODE, HELLO), Sealed), JoinRequest) == HELLO
    answer = JoinEnd(problem="one")
    assert here.open(MASTER, decode(there.close(MASTER, answer), Sealed), JoinEnd) == answer
    end = JoinEnd(problem="two")
    assert there.open(NODE, decode(here.close(NODE, end), Sealed), JoinEnd) == end


@pytest.mark.parametrize(
    "sealed",
    [
        _sealed(secret=b"t" * 20),
        _sealed(channel=b"d" * 32),
        _sealed(speaker=MASTER),
        msgspec.structs.replace(_sealed(), body=_sealed().body.replace("node2", "node3")),
        msgspec.structs.replace(_sealed(), proof=""),
        msgspec.structs.replace(_sealed(), proof="é" * 64),
        msgspec.structs.replace(_sealed(), proof=_sealed().proof.upper()),
        Sealed(),
    ],
)
def test_another_secret_connection_speaker_or_content_is_refused(sealed: Sealed) -> None:
    """A message that differs in anything is not taken."""
    with pytest.raises(Refused, match="does not hold this token"):
        Seal(SECRET, CHANNEL).open(NODE, sealed, JoinRequest)


def test_a_message_is_good_only_in_its_place() -> None:
    """The first message is no good as the second."""
    there = Seal(SECRET, CHANNEL)
    there.open(NODE, _sealed(), JoinRequest)
    with pytest.raises(Refused, match="does not hold this token"):
        there.open(NODE, _sealed(), JoinRequest)


def test_a_refusal_arrives_as_it_was_given() -> None:
    """Code, text and hint of a refusal reach the other side."""
    refusal = decode(encode_refusal(Refusal(code="wrong_state", text="no", hint="wait")), Sealed)
    with pytest.raises(Refused, match="no") as refused:
        Seal(SECRET, CHANNEL).open(MASTER, refusal, JoinEnd)
    assert (refused.value.code, refused.value.hint) == ("wrong_state", "wait")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{", b'{"body":1}', b"[" * 100000])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """Bytes that are no message are refused, however deep."""
    with pytest.raises(Refused, match="does not speak"):
        decode(data, Sealed)
