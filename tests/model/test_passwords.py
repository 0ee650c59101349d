"""Hashed passwords of the remote API."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnt.model.passwords import SALT_BYTES, HashedPassword, hash_password, parse_hash

SALT = bytes(range(SALT_BYTES))


def cheap(password: bytes) -> HashedPassword:
    """Hash at a cost that tests can bear."""
    made = hashlib.scrypt(password, salt=SALT, n=2, r=1, p=1, dklen=32)
    return HashedPassword(log_cost=1, block=1, parallel=1, salt=SALT, hash=made)


def test_a_password_is_known_again() -> None:
    """Its own, and no other; through the form in which it is written down."""
    text = hash_password(b"secret", SALT).text()
    assert text.startswith("ln=14,r=8,p=1$")
    read = parse_hash(text.encode())
    assert read is not None
    assert read.matches(b"secret")
    assert not read.matches(b"Secret")


def test_salts_make_hashes_differ() -> None:
    """Two users with one password cannot be told to have it."""
    assert cheap(b"x").hash != hashlib.scrypt(b"x", salt=SALT[::-1], n=2, r=1, p=1, dklen=32)


@settings(deadline=None)
@given(password=st.binary(max_size=200))
def test_any_password(password: bytes) -> None:
    """Also those with strange bytes, and none."""
    read = parse_hash(cheap(password).text().encode())
    assert read is not None
    assert read.matches(password)
    assert not read.matches(password + b"x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg",
        "ln=0,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$LlvQgMicekEPgpsa9f9x8U0Blz4RyxhYVpGGgi/UiSw",
        "ln=30,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$LlvQgMicekEPgpsa9f9x8U0Blz4RyxhYVpGGgi/UiSw",
        "ln=14,r=0,p=1$MDEyMzQ1Njc4OWFiY2RlZg$LlvQgMicekEPgpsa9f9x8U0Blz4RyxhYVpGGgi/UiSw",
        "ln=14,r=8,p=99$MDEyMzQ1Njc4OWFiY2RlZg$LlvQgMicekEPgpsa9f9x8U0Blz4RyxhYVpGGgi/UiSw",
        "ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZ$LlvQgMicekEPgpsa9f9x8U0Blz4RyxhYVpGGgi/UiSwx",
        "ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$LlvQgMicekEPgpsa9f9x8U0Blz4RyxhYVpGGgi/UiSw\n",
    ],
)
def test_what_is_no_hash(text: str) -> None:
    """Also what would take more memory or time than a login may."""
    assert parse_hash(text.encode()) is None


def test_no_secret_in_words() -> None:
    """A representation shows neither salt nor hash."""
    assert repr(cheap(b"x")) == "HashedPassword()"
