"""A sequence that never changes, of which a like one with one item replaced costs little, however long it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

_SIZE: Final = 64


class Blocks(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """Items in blocks of 64, the last one shorter: to replace one item copies its block and the list of blocks."""

    blocks: tuple[tuple[T, ...], ...]

    @classmethod
    def of(cls, items: Sequence[T]) -> Blocks[T]:
        """Put items into blocks."""
        if len(items) <= _SIZE:
            return cls((tuple(items),))
        return cls(tuple(tuple(items[first : first + _SIZE]) for first in range(0, len(items), _SIZE)))

    def __len__(self) -> int:
        return _SIZE * (len(self.blocks) - 1) + len(self.blocks[-1])

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self.blocks)

    def __getitem__(self, index: int) -> T:
        """Give the item at a place, from 0. Raises `IndexError`."""
        return self.blocks[index // _SIZE][index % _SIZE]

    def replaced(self, index: int, item: T) -> Blocks[T]:
        """Give the sequence with another item at a place."""
        number, place = divmod(index, _SIZE)
        block = self.blocks[number]
        new = (*block[:place], item, *block[place + 1 :])
        return Blocks((*self.blocks[:number], new, *self.blocks[number + 1 :]))

    def differing(self, other: Blocks[T]) -> Iterable[int]:
        """Give the places at which a sequence of the same length has another object; what both share is passed over."""
        for number, (block, its) in enumerate(zip(self.blocks, other.blocks, strict=True)):
            if block is not its:
                for place, (item, another) in enumerate(zip(block, its, strict=True), number * _SIZE):
                    if item is not another:
                        yield place
