"""A sequence in blocks is the plain sequence, and shares what does not change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.masterd.jobs.blocks import Blocks

COUNTS = st.sampled_from([0, 1, 2, 63, 64, 65, 127, 128, 129, 1000])


@given(count=COUNTS, changes=st.lists(st.integers(0, 999), max_size=5))
def test_it_is_like_a_list(count: int, changes: list[int]) -> None:
    """Of any length around those of a block; the one it was made of stays as it was."""
    plain = [object() for _ in range(count)]
    first = now = Blocks.of(plain)
    expected = list(plain)
    for index in (change for change in changes if change < count):
        item = object()
        now, expected[index] = now.replaced(index, item), item
    assert (list(now), len(now)) == (expected, count)
    assert list(first) == plain
    assert [now[index] for index in range(count)] == expected
    assert list(now.differing(first)) == sorted({change for change in changes if change < count})
    with pytest.raises(IndexError):
        now[count]
