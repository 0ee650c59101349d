"""How a job stands in rows: whole in one, and what became of it since in parts of their own.

A job of thousands of opcodes would cost the square of their number if each that ends wrote the job anew. The row is
written when the job is taken, and again whenever most of it has changed; then its parts go. A part is one of these,
under the key `<job>/<part>`:

* `op/<index>`: an object in place of all members of an opcode but its input and log;
* `input/<index>`: what is in place of its input;
* `log/<serial>`: `[<index>, [<line>, …]]`, lines behind those that an opcode has, the first with this serial;
* `job`: an object whose members replace those of the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from gnt.model.errors import ConfigError

OP: Final = "op/"
INPUT: Final = "input/"
LOG: Final = "log/"
JOB: Final = "job"

_Members = dict[str, msgspec.Raw]
_NO_LINES: Final = msgspec.Raw(b"[]")

_encoder = msgspec.json.Encoder()
_members = msgspec.json.Decoder(_Members)
_ops = msgspec.json.Decoder(list[_Members])
_lines = msgspec.json.Decoder(tuple[int, list[msgspec.Raw]])
_own_lines = msgspec.json.Decoder(list[msgspec.Raw])
_serial = msgspec.json.Decoder(tuple[int, msgspec.Raw, msgspec.Raw, msgspec.Raw])


def part_key(job: int, part: str) -> str:
    """Give the key of a part."""
    return f"{job}/{part}"


def merged(value: bytes, parts: Iterable[tuple[str, bytes]]) -> bytes:
    """Give the JSON of a whole job: its row with its parts (without the number of the job in their names) over it.

    Raises `ConfigError` for what cannot be read, or is no part of this job.
    """
    found = dict(parts)
    if not found:
        return value
    try:
        return _merged(value, found)
    except (msgspec.DecodeError, LookupError, ValueError) as error:
        raise ConfigError(f"a stored job cannot be read: {error}") from None


def _merged(value: bytes, parts: dict[str, bytes]) -> bytes:
    job = _members.decode(value)
    ops = _ops.decode(job["ops"])
    lines: dict[int, list[msgspec.Raw]] = {}
    for part, data in parts.items():
        if part.startswith(OP):
            index = int(part.removeprefix(OP))
            kept: _Members = {name: ops[index][name] for name in ("input", "log") if name in ops[index]}
            ops[index] = {**kept, **_members.decode(data)}
        elif part.startswith(INPUT):
            ops[int(part.removeprefix(INPUT))]["input"] = msgspec.Raw(data)
        elif part.startswith(LOG):
            index, new = _lines.decode(data)
            lines.setdefault(index, []).extend(new)
        elif part == JOB:
            job.update(_members.decode(data))
        else:
            raise LookupError(part)
    for index, new in lines.items():
        # Two commits on the way at once may both have brought a line, the later one more of them.
        every = {_serial_of(line): line for line in (*_own_lines.decode(ops[index].get("log", _NO_LINES)), *new)}
        ops[index]["log"] = msgspec.Raw(_encoder.encode([every[serial] for serial in sorted(every)]))
    job["ops"] = msgspec.Raw(_encoder.encode(ops))
    return _encoder.encode(job)


def _serial_of(line: msgspec.Raw) -> int:
    return _serial.decode(line)[0]
