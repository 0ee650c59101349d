"""How a bootstrap program speaks with the command that runs it.

One JSON object comes on standard input (so that nothing secret stands in a process list); JSON lines go out:
`{"progress": text}` while it works, `{"token": text}` where one was made, at last `{"result": …}` or
`{"error": {"code", "text", "hint"}}`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, GntError, Refused

T = TypeVar("T")
LIMIT: Final = 4 * 2**20
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_request(kind: type[T]) -> T:
    """Read the request from standard input. Raises `Refused` naming what is wrong with it."""
    data = sys.stdin.buffer.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise Refused(WRONG_INPUT, f"the request is longer than {LIMIT} bytes")
    import msgspec  # noqa: PLC0415  (what may be begun before a request is read does not wait for loading it)

    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise Refused(WRONG_INPUT, f"the request on standard input is not understood: {error}") from None


def progress(text: str) -> None:
    """Say what is being done."""
    _write({"progress": text})


def show_token(token: str) -> None:
    """Give a token to be shown, in a message of its own: progress may be left out or logged."""
    _write({"token": token})


def stop_once() -> None:
    """Have the first signal to end undo what was made; more of them change nothing, the undo must come to its end."""

    def stop(_number: int, _frame: object) -> None:
        for number in _ENDING:
            # No handler that ignores: what is started from here would ignore it too.
            signal.signal(number, lambda _number, _frame: None)
        raise KeyboardInterrupt

    for number in _ENDING:
        signal.signal(number, stop)


def answer(work: Callable[[], Any]) -> int:
    """Do the work, write its result or error, give the exit status."""
    try:
        stop_once()
        result = work()
    except GntError as error:
        _write({"error": {"code": error.code, "text": error.text, "hint": error.hint}})
        return 1
    except KeyboardInterrupt:
        _write({"error": {"code": "interrupted", "text": "interrupted; what was made was unmade", "hint": ""}})
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _write({"error": {"code": ENVIRONMENT, "text": f"{where}{error.strerror or error}", "hint": ""}})
        return 1
    _write({"result": result})
    return 0


def _write(message: dict[str, Any]) -> None:
    import msgspec  # noqa: PLC0415

    # Who asked may be gone; that must not stop an undo.
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
        sys.stdout.buffer.flush()
