"""What is written on simulated disks: what was noted of it is what is read from them."""

from __future__ import annotations

from pathlib import Path

from gnt.sim.content import PIECE, content_of, copy_pieces, patched, write_at, write_content
from gnt.sim.machine import seeded

SIZE = 4 * PIECE


def disk(path: Path) -> Path:
    """Make an empty disk."""
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def test_what_is_noted_of_writes_is_what_a_whole_look_finds(tmp_path: Path) -> None:
    """Across pages, over one another, and zeros over what was there: after each write, to the byte."""
    source = seeded(1, "content")
    one, noted = disk(tmp_path / "one"), dict[int, bytes]()
    for _ in range(200):
        offset, length = source.randrange(3 * 4096), source.choice((24, 100, 4096, 9000))
        data = bytes(length) if source.random() < 0.5 else source.randbytes(length)
        write_at(one, offset, data)
        noted = patched(noted, offset, data)
        assert noted == content_of(one)
    assert noted


def test_pieces_are_copied_and_nothing_else(tmp_path: Path) -> None:
    """What the source has, zeros too where the target had something; other pieces stay, and a disk keeps its holes."""
    source, target = disk(tmp_path / "source"), disk(tmp_path / "target")
    write_at(source, PIECE + 5000, b"new")
    write_at(source, 3 * PIECE, b"elsewhere")
    write_at(target, PIECE + 100_000, b"old")
    write_at(target, 2 * PIECE, b"kept")
    copy_pieces(source, target, {0, 1})
    found = content_of(target)
    assert {offset: page.strip(b"\0") for offset, page in found.items()} == {PIECE + 4096: b"new", 2 * PIECE: b"kept"}
    assert target.stat().st_size == SIZE
    assert target.stat().st_blocks * 512 < PIECE


def test_a_disk_can_be_given_the_content_of_another(tmp_path: Path) -> None:
    """It holds that and nothing else, and is as large as before."""
    one, other = disk(tmp_path / "one"), disk(tmp_path / "other")
    write_at(one, 7, b"seven")
    write_at(other, PIECE, b"gone")
    write_content(other, content_of(one))
    assert content_of(other) == content_of(one) == {0: b"\0" * 7 + b"seven" + b"\0" * (4096 - 12)}
    assert other.stat().st_size == SIZE
