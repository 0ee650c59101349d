"""`qemu-img` of a simulated machine: images that begin as QEMU's own do, with the disk's data behind the header.

Size and magic stand where every reader of qcow2 looks for them; what is stored is not compressed into clusters.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gnt.noded.processes import Finished
from gnt.sim.content import content_of, write_content

MIB: Final = 1 << 20
BEGINNING: Final = 1 << 16
"""Where the data begins."""
_HEADER: Final = struct.Struct(">4sIQIIQ")
_MAGIC: Final = b"QFI\xfb"


def run(words: Sequence[str], cwd: Path) -> Finished:
    """Run `qemu-img`: create, resize, convert."""
    plain = _plain(words[1:])
    try:
        if words[0] == "create":
            _make(cwd / plain[0], _mebibytes(plain[1]))
        elif words[0] == "resize":
            _resize(cwd / plain[0], _mebibytes(plain[1]))
        elif words[0] == "convert":
            _convert(words, cwd)
        else:
            return Finished(status=1, signal=None, errors=f"qemu-img: Command not found: {words[0]}\n")
    except OSError as error:
        return Finished(status=1, signal=None, errors=f"qemu-img: {error.strerror}\n")
    return Finished(status=0, signal=None)


def left_in_memory(words: Sequence[str], cwd: Path) -> Path | None:
    """Give the file that a command writes and does not sync: the target of a copy, unless it is told otherwise.

    A new file (no `-n`) is a draft: the template syncs it before it gives it its name.
    """
    if words[0] != "convert" or "-n" not in words or "-t" in words:
        return None
    return cwd / words[-1]


def is_image(path: Path) -> bool:
    """Say whether a file is an image of ours."""
    with path.open("rb") as file:
        return is_image_at(file.fileno())


def is_image_at(handle: int) -> bool:
    """Say whether an open file is one."""
    return os.pread(handle, len(_MAGIC), 0) == _MAGIC


def data_of(path: Path) -> dict[int, bytes]:
    """Give what the disk in an image, or in a raw file, holds besides zeros: bytes by their offset."""
    content = content_of(path)
    if not is_image(path):
        return content
    found: dict[int, bytes] = {}
    for offset, data in content.items():
        skip = max(0, BEGINNING - offset)
        if len(data) > skip and data[skip:].strip(b"\0"):
            found[offset + skip - BEGINNING] = data[skip:]
    return found


def _make(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.write(_header(size))
        file.truncate(BEGINNING + size)


def _resize(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.write(_header(size))
        file.truncate(BEGINNING + size)


def _convert(words: Sequence[str], cwd: Path) -> None:
    """Copy a disk into a file: a new one, or with `-n` one that is there."""
    target_format = words[words.index("-O") + 1]
    target = cwd / words[-1]
    if "--image-opts" in words:
        options = words[words.index("--image-opts") + 1]
        source = Path(options.partition("file.filename=")[2].replace(",,", ","))
    else:
        source = cwd / _plain(words[1:])[0]
    data = data_of(source)
    if "-n" not in words:
        _make(target, _size_of(source))
    shift = BEGINNING if target_format == "qcow2" else 0
    kept = {0: _header(_size_of(target))} if shift else {}
    write_content(target, {**kept, **{offset + shift: piece for offset, piece in data.items()}})


def _size_of(path: Path) -> int:
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if header.startswith(_MAGIC):
        return int(_HEADER.unpack(header)[5])
    return path.stat().st_size


def _header(size: int) -> bytes:
    return _HEADER.pack(_MAGIC, 3, 0, 0, 16, size)


def _plain(words: Sequence[str]) -> list[str]:
    """Give the words that are neither options nor their values."""
    found: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in {"-f", "-O", "-b", "-F", "-t", "--image-opts"}:
            skip = True
        elif not word.startswith("-"):
            found.append(word)
    return found


def _mebibytes(text: str) -> int:
    return int(text.removesuffix("M")) * MIB
